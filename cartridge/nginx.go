package cartridge

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
)

// Nginx is the part of a plan that serves files over HTTP with nginx, alone or
// in front of something else. Its zero value serves the release's folder.
//
// The configuration listens on loopback only, keeps all that nginx writes in
// {{.Dir}}, serves no dot files, and runs as whoever starts it.
type Nginx struct {
	// Root is the served folder below the release, by [CheckRoot]. Default: the release.
	Root string
	// Index are the files that answer for a folder. Default index.html.
	Index []string
	// Otherwise is what try_files does when there is no such file. Default "=404".
	Otherwise string
	// HTTP and Server are further directives in these blocks.
	HTTP, Server string // T
}

// CheckRoot says whether a folder named by a tenant may stand in the
// configuration, where a $ or a quote would be more than a letter.
func CheckRoot(root string) error {
	if !filepath.IsLocal(root) || strings.Trim(root, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") != "" {
		return fmt.Errorf("setting root: %q is no folder in the repository: use a relative path of letters, digits and . _ - /", root)
	}
	for part := range strings.SplitSeq(path.Clean(root), "/") {
		if part == ".git" {
			return fmt.Errorf("setting root: %q would serve the repository's history: name another folder", root)
		}
	}
	return nil
}

// Program is what must be installed.
func (n Nginx) Program() Program {
	return Program{Names: []string{"nginx"}, Package: "nginx-light"}
}

// Dirs are the folders that nginx writes to.
func (n Nginx) Dirs() []string { return []string{"nginx"} }

// Process runs nginx in the foreground. QUIT stops it gracefully.
func (n Nginx) Process() Process {
	// -p makes {{.Dir}} the base of all relative paths, so that no path of the
	// instance has to be quoted in the file; -e is for the time before it is read.
	return Process{Name: "nginx", Args: []string{"nginx", "-e", "stderr", "-p", "{{.Dir}}", "-c", "{{.Dir}}/nginx.conf"}, Dir: "{{.Dir}}"}
}

// File is nginx.conf.
func (n Nginx) File() File {
	index := strings.Join(n.Index, " ")
	fallback(&index, "index.html")
	fallback(&n.Otherwise, "=404")
	root := "{{.Release}}"
	if r := path.Clean(n.Root); r != "." {
		root += "/" + r
	}
	return File{Path: "nginx.conf", Content: strings.NewReplacer(
		"@root@", root, "@index@", index, "@otherwise@", n.Otherwise,
		"@http@", n.HTTP, "@server@", n.Server, "@types@", mimeTypes,
	).Replace(nginxConf)}
}

// In nginxConf:
//   - user: started as root, nginx would run its workers as nobody, who cannot
//     read folders of mode 0700. Who runs is the agent's decision, so the
//     workers stay who the master is; started by anybody else nginx ignores the
//     line, with one warning.
//   - keepalive: longer than a balancer keeps idle connections, so that it is
//     never nginx who closes one just as a request arrives on it.
//   - realip: only loopback connects; the last address in X-Forwarded-For is
//     the one that the balancer added.
//   - absolute_redirect: the port is a private one, never to be shown.
const nginxConf = `user root root;
daemon off;
pid nginx.pid;
error_log stderr warn;
worker_processes 1;
worker_shutdown_timeout 25s;
events {
	worker_connections 1000;
}
http {
	access_log off;
	log_not_found off;
	server_tokens off;
	client_body_temp_path nginx/body;
	proxy_temp_path nginx/proxy;
	fastcgi_temp_path nginx/fastcgi;
	uwsgi_temp_path nginx/uwsgi;
	scgi_temp_path nginx/scgi;
	sendfile on;
	tcp_nopush on;
	keepalive_timeout 180s;
	keepalive_requests 100000;
	client_max_body_size 64m;
	absolute_redirect off;
	set_real_ip_from 127.0.0.1;
	real_ip_header X-Forwarded-For;
	default_type application/octet-stream;
	types_hash_max_size 2048;
	types {
@types@	}
@http@	server {
		listen 127.0.0.1:{{port "http"}};
		server_name _;
		root "@root@";
		index @index@;
		location ~ /\.(?!well-known(?:/|$)) {
			return 404;
		}
@server@		location / {
			try_files $uri $uri/ @otherwise@;
		}
	}
}
`

// mimeTypes stands in the file because the instance may have no /etc/nginx.
const mimeTypes = `		text/html html htm;
		text/css css;
		text/plain txt log;
		text/xml xml;
		text/csv csv;
		text/calendar ics;
		text/markdown md;
		text/javascript js mjs;
		application/json json map;
		application/manifest+json webmanifest;
		application/rss+xml rss;
		application/atom+xml atom;
		application/pdf pdf;
		application/wasm wasm;
		application/zip zip;
		application/gzip gz;
		image/png png;
		image/jpeg jpg jpeg;
		image/gif gif;
		image/svg+xml svg svgz;
		image/webp webp;
		image/avif avif;
		image/x-icon ico;
		font/woff woff;
		font/woff2 woff2;
		font/ttf ttf;
		font/otf otf;
		audio/mpeg mp3;
		audio/ogg ogg oga;
		audio/wav wav;
		video/mp4 mp4 m4v;
		video/webm webm;
		video/ogg ogv;
`

// MediaTypes returns the media types of files that browsers ask for, by
// extension without the dot. The map is the caller's.
func MediaTypes() map[string]string {
	types := map[string]string{}
	for line := range strings.Lines(mimeTypes) {
		f := strings.Fields(strings.TrimRight(line, ";\n"))
		for _, ext := range f[1:] {
			types[ext] = f[0]
		}
	}
	return types
}
