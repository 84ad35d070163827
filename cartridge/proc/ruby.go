package proc

import (
	"errors"
	"strings"

	"github.com/gostratos/stratos/cartridge"
)

// ruby runs Rack applications with bundler, and single files without.
func (r *release) ruby() (*finding, error) {
	if r.firstOf("Gemfile", "config.ru", "app.rb") == "" {
		return nil, nil
	}
	gems, err := r.read("Gemfile.lock")
	if err != nil {
		return nil, err
	}
	f := &finding{
		programs: []cartridge.Program{{Names: []string{"ruby"}, Package: "ruby"}},
		env:      map[string]string{"RACK_ENV": "production", "RAILS_ENV": "production", "RAILS_LOG_TO_STDOUT": "1"},
	}
	prefix := ""
	if r.has("Gemfile") {
		if gems == "" {
			return nil, errors.New("the Gemfile has no Gemfile.lock, so that each build could install others: run bundle lock and commit it")
		}
		f.programs = append(f.programs, cartridge.Program{Names: []string{"bundle"}, Package: "ruby-bundler"})
		f.build = []cartridge.Command{{
			Args: []string{"bundle", "install"}, Package: "ruby-bundler",
			Env: map[string]string{"BUNDLE_PATH": ".stratos/bundle", "BUNDLE_DEPLOYMENT": "true", "BUNDLE_WITHOUT": "development:test"},
		}}
		f.env["BUNDLE_PATH"] = "{{.Release}}/.stratos/bundle"
		f.env["BUNDLE_DEPLOYMENT"], f.env["BUNDLE_WITHOUT"] = "true", "development:test"
		prefix = "bundle exec "
	}
	if r.commanded {
		return f, nil
	}
	rack := r.has("config.ru")
	switch {
	case rack && strings.Contains(gems, "    puma ("):
		f.command = prefix + "puma --bind tcp://127.0.0.1:$PORT config.ru"
	case rack:
		if prefix == "" {
			f.programs = append(f.programs, cartridge.Program{Names: []string{"rackup"}, Package: "ruby-rack"})
		}
		f.command = prefix + "rackup --host 127.0.0.1 --port $PORT config.ru"
	case r.has("app.rb"):
		f.command = prefix + "ruby app.rb"
	default:
		return nil, errors.New("a Gemfile is here, but neither config.ru nor app.rb: add a Procfile with \"web: COMMAND\"")
	}
	return f, nil
}
