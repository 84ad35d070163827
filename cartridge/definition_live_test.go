package cartridge_test

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/cartridgetest"
)

const realRedis = `
name: redis
description: an in-memory store that forgets
settings:
  memory: {description: the most memory, default: 64mb, pattern: "[0-9]+mb"}
plan:
  programs: [{names: [redis-server], package: redis-server}]
  ports: [{name: redis, protocol: tcp}]
  files:
  - path: redis.conf
    content: |
      bind 127.0.0.1
      port {{port "redis"}}
      maxmemory {{setting "memory"}}
      save ""
      appendonly no
  processes:
  - name: redis
    args: [redis-server, "{{.Dir}}/redis.conf"]
    dir: "{{.Dir}}"
  health: {kind: tcp, port: redis, start: 20s}
`

const realWeb = `
name: web
settings:
  greeting: {required: true}
plan:
  programs: [{names: [python3], package: python3}]
  ports: [{name: http}]
  files:
  - {path: site/greeting.txt, content: 'say {{setting "greeting"}}'}
  processes:
  - name: web
    args: [python3, -m, http.server, --bind, 127.0.0.1, --directory, "{{.Dir}}/site", '{{port "http"}}']
  health: {path: /greeting.txt}
`

func decoded(t *testing.T, text string) cartridge.Type {
	t.Helper()
	d, err := cartridge.DecodeDefinition([]byte(text))
	require.NoError(t, err)
	return d.Type()
}

func TestDefinitionOfRedis(t *testing.T) {
	_, err := exec.LookPath("redis-server")
	require.NoError(t, err, "apt-get install redis-server")
	c := cartridgetest.Case{Settings: map[string]string{"memory": "32mb"}}
	cartridgetest.Run(t, decoded(t, realRedis), c)

	r := cartridgetest.Start(t, decoded(t, realRedis), c)
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.Ports["redis"]))
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprint(conn, "CONFIG GET maxmemory\r\n")
	require.NoError(t, err)
	answer := bufio.NewReader(conn)
	for _, want := range []string{"*2\r\n", "$9\r\n", "maxmemory\r\n", "$8\r\n", "33554432\r\n"} {
		line, err := answer.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, want, line)
	}
	r.Stop()
}

func TestDefinitionOfAWebServer(t *testing.T) {
	cartridgetest.Run(t, decoded(t, realWeb), cartridgetest.Case{
		Settings: map[string]string{"greeting": `{{.Release}} {`},
		Want:     map[string]string{"/greeting.txt": `say {{.Release}} {`},
	})
}
