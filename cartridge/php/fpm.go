package php

import (
	"fmt"

	"github.com/gostratos/stratos/cartridge"
)

// volume is what the members share, and sessions the folder of the session files in it.
const (
	volume   = "shared"
	sessions = "sessions"
)

// process runs php-fpm in the foreground (-F) with its log on stderr (-O).
//
// -R and no "user" in the pool: whoever starts php-fpm is who runs the
// scripts. Started as root without -R, it would demand a user; with one, it
// would leave the uid that the agent chose; and started as anybody else it
// ignores both. So this one line serves agents of every kind.
//
// What cannot be set in a pool follows: opcache wants its lock in a folder that
// can be written; and without fix_pathinfo, PHP_SELF is empty. That it could
// run a picture as /picture.png/x.php is nginx's to prevent.
func process(env map[string]string) cartridge.Process {
	return cartridge.Process{
		Name: "php",
		Args: []string{
			"php-fpm", "-F", "-O", "-R", "-p", "{{.Dir}}", "-y", "{{.Dir}}/fpm.conf",
			"-d", "opcache.lockfile_path={{.Dir}}/tmp", "-d", "cgi.fix_pathinfo=1",
		},
		Dir: "{{.Dir}}",
		Env: env,
	}
}

// fpm returns fpm.conf.
func (c config) fpm() string {
	return fmt.Sprintf(fpmConf, c.children, min(2, c.children), min(4, c.children), c.memory)
}

// In fpmConf:
//   - listen: the address of a unix socket has room for 107 bytes, and php-fpm
//     makes relative ones absolute. /proc/self/cwd is short wherever {{.Dir}}
//     is. Inside a folder of mode 0700 the socket is nobody else's.
//   - error_log: only opened, never written, as -O sends the log to stderr;
//     but by default it is a file in /var/log that only root can open.
//   - php's error_log: the pipe on which php-fpm catches its children's output.
//     Left alone, messages would come a second time, through nginx, which cuts
//     them at 2 KiB. What the agent itself gave as stderr could not be opened
//     by another uid.
//   - clear_env: the environment was made for this program; it holds what the
//     subscription sets.
//   - session.gc_probability: Debian sets 0 and cleans up with a cron job that
//     knows nothing of our folder.
const fpmConf = `[global]
pid = fpm.pid
error_log = fpm.log
log_limit = 16384
daemonize = no
process_control_timeout = 25s
emergency_restart_threshold = 5
emergency_restart_interval = 1m

[app]
listen = /proc/self/cwd/fpm.sock
listen.mode = 0600
pm = dynamic
pm.max_children = %d
pm.start_servers = %d
pm.min_spare_servers = 1
pm.max_spare_servers = %d
pm.max_requests = 500
pm.status_path = /-/fpm-status
ping.path = /-/fpm-ping
request_terminate_timeout = 60s
catch_workers_output = yes
decorate_workers_output = no
clear_env = no
security.limit_extensions = .php
php_admin_value[error_log] = /proc/self/fd/2
php_admin_flag[log_errors] = on
php_admin_flag[expose_php] = off
php_admin_value[upload_tmp_dir] = "{{.Dir}}/tmp"
php_admin_value[sys_temp_dir] = "{{.Dir}}/tmp"
php_value[session.save_path] = "{{volume "` + volume + `"}}/` + sessions + `"
php_value[session.gc_probability] = 1
php_value[session.gc_divisor] = 1000
php_value[upload_max_filesize] = 64M
php_value[post_max_size] = 64M
php_value[memory_limit] = %s
php_flag[display_errors] = off
`
