package mysql

import "fmt"

// server is the server's configuration.
//
//   - bind-address: the agent's front is what others reach.
//   - skip-name-resolve: users are let in by address; root@localhost is the socket's.
//   - performance_schema, innodb_log_file_size: a third of the memory and of
//     the disk of a small server.
//   - log_warnings, host_cache_size: a health check connects and goes, which is
//     no reason to complain or to let nobody in from there any more.
//   - local-infile, secure_file_priv: SQL reaches no file of the instance.
func (c config) server() string {
	return fmt.Sprintf(`[mariadbd]
datadir={{volume "data"}}/db
socket=server.sock
pid-file={{.Dir}}/run/pid
tmpdir={{.Dir}}/tmp
lc-messages-dir=/usr/share/mysql
bind-address=127.0.0.1
port={{port "mysql"}}
init-file={{.Dir}}/init.sql
skip-name-resolve
skip-log-bin
skip-symbolic-links
local-infile=0
secure_file_priv={{.Dir}}/run
character-set-server=utf8mb4
collation-server=utf8mb4_general_ci
performance_schema=OFF
log_warnings=1
host_cache_size=0
innodb_buffer_pool_size=%s
innodb_log_file_size=16M
innodb_log_buffer_size=4M
innodb_flush_log_at_trx_commit=1
max_connections=%d
max_allowed_packet=64M
key_buffer_size=1M
`, c.memory, c.connections)
}

// clientConfig is how actions come in. The socket's name is relative to the
// data folder, where the server is and the clients go: an absolute one may be
// longer than a socket's name can be.
const clientConfig = `[client]
socket=server.sock
user=root
password={{secret "root"}}
default-character-set=utf8mb4
`

// initSQL runs at every start before connections are taken. Whatever the data
// folder holds, root has this password, and comes in by the socket alone.
const initSQL = `DELETE FROM mysql.global_priv WHERE User='' OR User='root' AND Host<>'localhost';
FLUSH PRIVILEGES;
CREATE OR REPLACE USER 'root'@'localhost' IDENTIFIED BY '{{secret "root"}}';
GRANT ALL PRIVILEGES ON *.* TO 'root'@'localhost' WITH GRANT OPTION;
DROP DATABASE IF EXISTS test;
`

// script makes the data folder where there is none, runs what the release
// brings, and becomes the server.
//
// The folder is made beside its place, on the disk, and then moved: a half-made
// one is never served. The server's own tool takes ten times as long: it fills
// help tables, and syncs each step.
const script = `set -eu
volume=$1 release=$2 dir=$PWD
PATH=$PATH:/usr/sbin
own=
[ "$(id -u)" != 0 ] || own=--user=root
if [ ! -d "$volume/db" ]; then
	echo "making the data folder"
	rm -rf "$volume/new"
	mkdir -m 700 "$volume/new"
	{
		printf 'CREATE DATABASE mysql;\nUSE mysql;\n'
		cat ` + system + `mysql_system_tables.sql ` + system + `mysql_system_tables_data.sql
		printf "DELETE FROM global_priv WHERE User='' OR User='root';\\nDELETE FROM proxies_priv;\\n"
	} | mariadbd --no-defaults --bootstrap $own --datadir="$volume/new" --tmpdir="$dir/tmp" --log-warnings=0 \
		--skip-log-bin --performance-schema=OFF --innodb-log-file-size=16M --innodb-buffer-pool-size=16M \
		--innodb-flush-method=nosync --innodb-doublewrite=0 --innodb-flush-log-at-trx-commit=0 \
		--default-storage-engine=Aria --enforce-storage-engine=
	sync -f "$volume/new"
	mv "$volume/new" "$volume/db"
	sync -f "$volume"
fi
mkdir -p "$volume/done"
client() {
	(cd "$volume/db" && exec mariadb --defaults-file="$dir/client.cnf" "$@")
}
serve() {
	exec mariadbd --defaults-file="$dir/my.cnf" $own "$@"
}
pending=
while read -r file; do
	[ -n "$file" ] || continue
	sum=$(sha256sum <"$release/$file")
	[ -e "$volume/done/$file-${sum%% *}" ] || pending=1
done <schemas
if [ -n "$pending" ]; then
	(serve --skip-networking) &
	server=$!
	trap 'kill -TERM $server 2>/dev/null; wait $server; exit 143' TERM
	tries=0
	until client -e 'DO 0' 2>/dev/null; do
		kill -0 $server
		tries=$((tries + 1))
		[ $tries -lt 3000 ]
		sleep 0.05
	done
	while read -r file; do
		[ -n "$file" ] || continue
		sum=$(sha256sum <"$release/$file")
		mark=$volume/done/$file-${sum%% *}
		[ ! -e "$mark" ] || continue
		echo "running $file"
		if ! client <"$release/$file" 2>run/err; then
			echo "$file: $(cat run/err)" >&2
			kill -TERM $server
			wait $server || true
			exit 1
		fi
		: >"$mark"
	done <schemas
	kill -TERM $server
	wait $server
	trap - TERM
fi
serve
`

// In the statements names are the platform's own: letters, digits and _.
//
// A former user of the database has left what it stored there, and nothing else.
const connectSQL = `CREATE DATABASE IF NOT EXISTS ` + "`{{binding \"database\"}}`" + `;
CREATE USER IF NOT EXISTS '{{binding "user"}}'@'%' IDENTIFIED BY '{{binding "password"}}';
ALTER USER '{{binding "user"}}'@'%' IDENTIFIED BY '{{binding "password"}}';
GRANT ALL PRIVILEGES ON ` + "`{{binding \"database\"}}`" + `.* TO '{{binding "user"}}'@'%';
`

const disconnectSQL = `DROP USER IF EXISTS '{{binding "user"}}'@'%';
KILL USER '{{binding "user"}}';
`

// backup dumps every database but the server's own. Users come from bindings.
// The last line says that it is whole.
const backup = `set -eu
cd "$2/db"
names=$(mariadb --defaults-file="$1" -N -e "SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT IN ('mysql','information_schema','performance_schema','sys') ORDER BY schema_name")
if [ -z "$names" ]; then
	echo '-- there is no database'
	exit
fi
exec mariadb-dump --defaults-file="$1" --single-transaction --quick --routines --triggers --events --hex-blob --add-drop-database --databases $names
`
