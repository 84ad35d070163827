package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/gostratos/stratos/cartridge"
)

const pythonDir = ".stratos/python"

// python installs what is required into a folder of the release. It is no
// virtual environment: one holds its own path, and the release moves.
func (r *release) python() (*finding, error) {
	requirements, err := r.read("requirements.txt")
	if err != nil {
		return nil, err
	}
	if requirements == "" && r.firstOf("requirements.txt", "app.py", "main.py", "wsgi.py", "asgi.py", "manage.py") == "" {
		return nil, nil
	}
	f := &finding{
		programs: []cartridge.Program{{Names: []string{"python3"}, Package: "python3"}},
		env:      map[string]string{"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
	}
	required := requirementNames(requirements)
	if len(required) > 0 {
		f.build = []cartridge.Command{{
			Args:    []string{"python3", "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check", "--target", pythonDir, "-r", "requirements.txt"},
			Package: "python3-pip",
		}}
		f.env["PYTHONPATH"] = "{{.Release}}/" + pythonDir
		f.path = []string{pythonDir + "/bin"}
	}
	if !r.commanded {
		f.command, err = r.pythonCommand(required)
	}
	return f, err
}

// pythonCommand prefers the servers that are made for the job.
func (r *release) pythonCommand(required []string) (string, error) {
	file := r.firstOf("asgi.py", "wsgi.py", "app.py", "main.py")
	module := strings.TrimSuffix(file, ".py")
	if file == "" && r.has("manage.py") {
		if found, err := fs.Glob(r.FS, "*/wsgi.py"); err == nil && len(found) == 1 {
			file = found[0]
			module = strings.ReplaceAll(strings.TrimSuffix(file, ".py"), "/", ".")
		}
	}
	if file == "" {
		return "", errors.New("Python is here, but neither app.py, main.py, wsgi.py nor asgi.py: add a Procfile with \"web: python3 FILE.py\"")
	}
	text, err := r.read(file)
	if err != nil {
		return "", err
	}
	object := "app"
	for s := range strings.Lines(text) {
		if name, _, ok := strings.Cut(s, "="); ok && strings.TrimRight(name, " ") == "application" {
			object = "application"
		}
	}
	target := quote(module + ":" + object)
	switch {
	case slices.Contains(required, "uvicorn") && !strings.HasSuffix(file, "wsgi.py"):
		return "python3 -m uvicorn --host 127.0.0.1 --port $PORT " + target, nil
	case slices.Contains(required, "gunicorn"):
		return "python3 -m gunicorn --bind 127.0.0.1:$PORT " + target, nil
	case strings.HasSuffix(file, "sgi.py"):
		return "", fmt.Errorf("%s needs a server: add gunicorn (WSGI) or uvicorn (ASGI) to requirements.txt", file)
	}
	return "python3 " + file, nil
}

// requirementNames returns the names of the packages, as pip compares them.
func requirementNames(text string) []string {
	var names []string
	for s := range strings.Lines(text) {
		s, _, _ = strings.Cut(s, "#")
		s = strings.TrimSpace(s)
		if i := strings.IndexAny(s, " [<>=!~;@("); i >= 0 {
			s = s[:i]
		}
		if s != "" {
			names = append(names, strings.ReplaceAll(strings.ToLower(s), "_", "-"))
		}
	}
	return names
}
