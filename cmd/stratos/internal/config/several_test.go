package config_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/cloud/local"
	"github.com/gostratos/stratos/cmd/stratos/internal/config"
	"github.com/gostratos/stratos/internal/ca"
)

// several is a file of several machines, but for its certificates.
const several = `
name: shop
dir: data
listen: none
api: 10.0.0.1:8080
url: https://control-a.example.org:8080
replicas: ["https://control-a.example.org:8080", "https://10.0.0.2:8080"]
masterKey: keys/master.key
tls: {caCert: ca.crt, caKey: ca.key, cert: api.crt, key: api.key, roots: roots.pem}
store:
  etcd: {endpoints: ["https://10.0.0.3:2379", "10.0.0.4:2379"], prefix: shop/, ca: ca.crt, cert: api.crt, key: api.key, username: shop, passwordFile: password}
blobs:
  s3: {bucket: releases, prefix: shop/, endpoint: "https://s3.example.org", region: eu-west-1, pathStyle: true, ca: ca.crt}
accounts:
- {name: here, dir: instances, address: 10.0.0.1, wrap: [ip, netns, exec, blue]}
`

func TestSeveralMachines(t *testing.T) {
	f, err := config.Parse("f", []byte(several))
	require.NoError(t, err)
	c := f.Platform(nil)
	require.Equal(t, "10.0.0.1:8080", c.API)
	require.Equal(t, "https://control-a.example.org:8080", c.URL)
	require.Equal(t, []string{"https://control-a.example.org:8080", "https://10.0.0.2:8080"}, c.Replicas)
	require.Equal(t, "keys/master.key", c.MasterKey)
	require.Empty(t, c.Listen)
	require.Equal(t, balancer.Elsewhere{}, c.Balancer)
	require.IsType(t, &local.Driver{}, c.Accounts[0].Driver)
	d := c.Accounts[0].Driver.(*local.Driver)
	require.Equal(t, "instances", d.Dir)
	require.Equal(t, "10.0.0.1", d.Address)
	require.Equal(t, []string{"ip", "netns", "exec", "blue"}, d.Wrap)

	require.Equal(t, "keys/master.key", f.MasterKeyFile())
	require.Equal(t, "data", f.DataDir())
}

func TestFoldersWithoutAWord(t *testing.T) {
	f, err := config.Parse("f", []byte("name: shop\n"))
	require.NoError(t, err)
	require.Equal(t, "shop.data", f.DataDir())
	require.Equal(t, "shop.data/master.key", f.MasterKeyFile())
	cluster, err := f.EtcdConfig(nil)
	require.NoError(t, err)
	require.Nil(t, cluster)
	bucket, err := f.Bucket()
	require.NoError(t, err)
	require.Nil(t, bucket)
	require.NoError(t, f.CheckFiles())
}

func TestSeveralAccepted(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"etcd and bucket on loopback", "store: {etcd: {endpoints: [\"127.0.0.1:2379\", \"http://[::1]:2379\", \"localhost:2379\"]}}\nblobs: {s3: {bucket: b, endpoint: \"http://localhost:9000\"}}\n"},
		{"etcd by https without a CA of its own", "store: {etcd: {endpoints: [\"https://e.example.org:2379/\"]}}\nblobs: {s3: {bucket: b}}\n"},
		{"AWS", "blobs: {s3: {bucket: b}}\n"},
		{"API on every address, with a URL", "api: 0.0.0.0:8080\nurl: https://10.0.0.1:8080\n"},
		{"API on a name", "api: control.example.org:8080\n"},
		{"only an authority", "api: 10.0.0.1:8080\ntls: {caCert: a, caKey: b}\n"},
		{"replicas on loopback", "store: {etcd: {endpoints: [\"127.0.0.1:2379\"]}}\nblobs: {s3: {bucket: b}}\nreplicas: [\"http://127.0.0.1:8080\", \"http://localhost:8081\"]\n"},
		{"loopback's address", "accounts:\n- {name: here, address: 127.0.0.2}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.Parse("f", []byte(c.text))
			require.NoError(t, err)
		})
	}
}

func TestSeveralRefused(t *testing.T) {
	const net = "api: 10.0.0.1:8080\n"
	const etcd = "blobs: {s3: {bucket: b}}\nstore:\n  etcd:\n    endpoints: [\"127.0.0.1:2379\"]\n"
	const bucket = "blobs:\n  s3:\n    bucket: b\n"
	for _, c := range []struct{ name, text, want string }{
		{"no URL", net + "url: 10.0.0.1\n", `f:2:1: url: "10.0.0.1" is no address of a control plane: write one like https://10.0.0.1:8080`},
		{"URL that is broken", net + "url: \"https://[\"\n", "f:2:1: url: is no address of a control plane"},
		{"URL with a path", net + "url: https://h:1/v1\n", `f:2:1: url: "https://h:1/v1" is no address`},
		{"URL with credentials", net + "url: https://u:p@h:1\n", "f:2:1: url: an address of a control plane has no credentials: remove what stands before the @"},
		{"plain URL", net + "url: http://10.0.0.1:8080\n", `f:2:1: url: "http://10.0.0.1:8080": an API off loopback is https: write https://10.0.0.1:8080`},
		{"https on loopback", "url: https://127.0.0.1:8080\n", `f:1:1: url: "https://127.0.0.1:8080": an API on loopback is plain http`},
		{"replica", etcd + net + "replicas: [\"https://a:1\", nowhere]\n", `replicas[1]: "nowhere" is no address of a control plane`},
		{"replica twice", etcd + net + "replicas: [\"https://a:1\", \"https://a:1\"]\n", "f:6:27: replicas[1]: is there twice: remove one"},
		{"replicas without a store", net + "replicas: [\"https://a:1\", \"https://b:1\"]\n", "f:2:1: replicas: several control planes need a store that they share"},
		{"replicas is a text", net + "replicas: https://a:1\n", "replicas: found text: write a list"},
		{"TLS on loopback", "tls: {caCert: a, caKey: b}\n", "f:1:1: tls: an API on loopback is plain http"},
		{"half an authority", net + "tls: {caCert: a}\n", "f:2:1: tls: caCert and caKey belong together"},
		{"certificate without a key", net + "tls: {cert: a, roots: c}\n", "f:2:1: tls: cert, key and roots belong together"},
		{"roots alone", net + "tls: {roots: c}\n", "f:2:1: tls: cert, key and roots belong together"},
		{"unknown field of TLS", net + "tls: {certt: c}\n", "f:2:7: tls.certt: there is no such field, did you mean cert?"},
		{"no kind of store", "store: {}\n", "f:1:1: store: no kind of store: write etcd with its endpoints"},
		{"no endpoints", "store: {etcd: {prefix: x}}\n", "f:1:1: store: no kind of store"},
		{"store without blobs", "store: {etcd: {endpoints: [\"127.0.0.1:2379\"]}}\n", "f:1:1: store: several control planes need blobs that they share"},
		{"endpoint without a port", "blobs: {s3: {bucket: b}}\nstore: {etcd: {endpoints: [\"127.0.0.1\"]}}\n", `store.etcd.endpoints[0]: "127.0.0.1" is no endpoint: write one like https://10.0.0.3:2379`},
		{"endpoint with credentials", "blobs: {s3: {bucket: b}}\nstore: {etcd: {endpoints: [\"https://u:p@h:2379\"]}}\n", "f:2:28: store.etcd.endpoints[0]: an endpoint has no credentials"},
		{"endpoint of another kind", "blobs: {s3: {bucket: b}}\nstore: {etcd: {endpoints: [\"ftp://h:2379\"]}}\n", "is no endpoint"},
		{"plain endpoint elsewhere", "blobs: {s3: {bucket: b}}\nstore: {etcd: {endpoints: [\"10.0.0.3:2379\"]}}\n", `"10.0.0.3:2379" is on another machine: write https://10.0.0.3:2379`},
		{"plain endpoint among others", "blobs: {s3: {bucket: b}}\nstore: {etcd: {endpoints: [\"https://h:2379\", \"http://g:2379\"]}}\n", `f:2:46: store.etcd.endpoints[1]: "http://g:2379" is without TLS`},
		{"etcd's key without a certificate", etcd + "    key: k\n", "f:3:3: store.etcd: cert and key belong together"},
		{"user without a password", etcd + "    username: u\n", "f:3:3: store.etcd: username and passwordFile belong together"},
		{"password in the file", etcd + "    password: hunter2\n", "f:5:5: store.etcd.password: there is no such field"},
		{"no kind of blobs", "blobs: {}\n", "f:1:1: blobs: no kind of blobs: write s3 with its bucket"},
		{"no bucket", "blobs: {s3: {region: x}}\n", "f:1:1: blobs: no kind of blobs"},
		{"plain bucket elsewhere", bucket + "    endpoint: http://s3.example.org\n", `f:4:5: blobs.s3.endpoint: "http://s3.example.org" is on another machine: write https://s3.example.org`},
		{"bucket without a scheme", bucket + "    endpoint: s3.example.org\n", "f:4:5: blobs.s3.endpoint: is no address of a server"},
		{"bucket with credentials", bucket + "    endpoint: https://u:p@s3.example.org\n", "f:4:5: blobs.s3.endpoint: an endpoint has no credentials"},
		{"bucket with a query", bucket + "    endpoint: https://s3.example.org?key=hunter2\n", "f:4:5: blobs.s3.endpoint: has a query or a fragment"},
		{"path style", bucket + "    pathStyle: sometimes\n", "blobs.s3.pathStyle: found text: write true or false"},
		{"address", net + "accounts:\n- {name: a, address: here}\n", `accounts[0].address: "here" is no IP address`},
		{"address of others, API on loopback", "accounts:\n- name: a\n  address: 10.0.0.1\n", "f:3:3: accounts[0].address: 10.0.0.1 is reached by others, and the API is plain http"},
		{"wrap of nothing", "accounts:\n- name: a\n  wrap: [\"\"]\n", "f:3:3: accounts[0].wrap: begins with nothing"},
		{"wrap is a text", "accounts:\n- name: a\n  wrap: ip netns\n", "accounts[0].wrap: found text: write a list"},
		{"listen somehow", "listen: nowhere\n", `f:1:1: listen: "nowhere" is no address: write host:port`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.Parse("f", []byte(c.text))
			require.ErrorContains(t, err, c.want)
			var placed *config.Error
			require.ErrorAs(t, err, &placed)
			require.Equal(t, 1, strings.Count(err.Error(), "\n")+1, "one mistake, one error: %v", err)
			require.NotContains(t, strings.ReplaceAll(err.Error(), "u:p@h:1/", ""), "u:p@")
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

// operator makes an authority and a certificate for a host, as files in dir.
func operator(t *testing.T, dir, host string, now time.Time) {
	t.Helper()
	authority, err := ca.New("operator", now)
	require.NoError(t, err)
	cert, key, err := authority.PEM()
	require.NoError(t, err)
	own, err := ca.NewKey()
	require.NoError(t, err)
	csr, err := ca.Request(own)
	require.NoError(t, err)
	leaf, err := authority.Sign(csr, ca.Identity{Kind: ca.Replica, Name: "a", Names: []string{host}}, now)
	require.NoError(t, err)
	ownPEM, err := ca.MarshalKey(own)
	require.NoError(t, err)
	for name, text := range map[string][]byte{
		"ca.crt": cert, "ca.key": key, "api.crt": leaf, "api.key": ownPEM, "roots.pem": cert, "password": []byte("hunter2\n"),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
}

// TestCheckFiles: all files that are named are looked at, relative to where
// the command is started.
func TestCheckFiles(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	write := func(name, text string) func(*testing.T) {
		return func(t *testing.T) { require.NoError(t, os.WriteFile(name, []byte(text), 0o600)) }
	}
	remove := func(name string) func(*testing.T) {
		return func(t *testing.T) { require.NoError(t, os.Remove(name)) }
	}
	for _, c := range []struct {
		name   string
		change func(*testing.T)
		want   []string // empty: nothing is wrong
	}{
		{"all is well", func(*testing.T) {}, nil},
		{"no authority", remove("ca.crt"), []string{"tls.caCert: ", "store.etcd.ca: ", "blobs.s3.ca: "}},
		{"no key of the authority", remove("ca.key"), []string{"tls.caKey: "}},
		{"authority that is none", write("ca.key", "x"), []string{"tls.caCert: "}},
		{"no certificate in it", write("api.crt", "x"), []string{"tls.cert: api.crt with api.key: ", "store.etcd.cert: api.crt with api.key: "}},
		{"no key", remove("api.key"), []string{"tls.key: ", "store.etcd.key: "}},
		{"another's key", func(t *testing.T) {
			key, err := os.ReadFile("ca.key")
			require.NoError(t, err)
			require.NoError(t, os.WriteFile("api.key", key, 0o600))
		}, []string{"tls.cert: ", "store.etcd.cert: "}},
		{"roots without a certificate", write("roots.pem", "x"), []string{"tls.roots: roots.pem: there is no certificate in PEM"}},
		{"no password", remove("password"), []string{"store.etcd.passwordFile: "}},
		{"empty password", write("password", "\n"), []string{"store.etcd.passwordFile: password is empty"}},
		{"a folder", func(t *testing.T) {
			require.NoError(t, os.Remove("password"))
			require.NoError(t, os.Mkdir("password", 0o700))
		}, []string{"store.etcd.passwordFile: password is not a file"}},
		{"master key for all to read", func(t *testing.T) {
			require.NoError(t, os.MkdirAll("keys", 0o700))
			_, err := ca.LoadOrMakeKey("keys/master.key")
			require.NoError(t, err)
			require.NoError(t, os.Chmod("keys/master.key", 0o644))
		}, []string{"run chmod 600 keys/master.key"}},
		{"master key that is none", func(t *testing.T) {
			require.NoError(t, os.MkdirAll("keys", 0o700))
			require.NoError(t, os.WriteFile("keys/master.key", []byte("hunter2"), 0o600))
		}, []string{"keys/master.key holds no master key"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			operator(t, ".", "control-a.example.org", time.Now())
			c.change(t)
			f, err := config.Parse("f", []byte(several))
			require.NoError(t, err)
			err = f.CheckFiles()
			if len(c.want) == 0 {
				require.NoError(t, err)
				require.NoFileExists(t, "keys/master.key", "to check makes nothing")
				return
			}
			require.Error(t, err)
			for _, w := range c.want {
				require.ErrorContains(t, err, w)
			}
			require.Equal(t, len(c.want), strings.Count(err.Error(), "\n")+1, "%v", err)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

// TestOpenSaysWhatIsAway: with nothing there, it fails and names the field.
func TestOpenSaysWhatIsAway(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
	f, err := config.Parse("f", []byte("blobs: {s3: {bucket: b, endpoint: \"http://127.0.0.1:1\", pathStyle: true}}\nstore: {etcd: {endpoints: [\"127.0.0.1:1\"]}}\n"))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, closeStore, err := f.Open(ctx, nil)
	require.ErrorContains(t, err, "blobs.s3: releases cannot be kept: ")
	require.NotContains(t, err.Error(), "hunter2")
	require.NoError(t, closeStore())

	f.Blobs = nil
	_, closeStore, err = f.Open(t.Context(), nil)
	require.ErrorContains(t, err, "no endpoint answers")
	require.NoError(t, closeStore())
}

// FuzzURLs: what is accepted is an address, and nothing repeats a password.
func FuzzURLs(f *testing.F) {
	for _, s := range []string{"https://10.0.0.1:8080", "https://u:hunter2@h", "://", "http://[::1]:1", "https://h/#x", "h:1", "https:///x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, "'\n\r\t\x00") {
			return // would not be one value
		}
		file, err := config.Parse("f", []byte("api: 10.0.0.1:8080\nurl: '"+text+"'\n"))
		if err != nil {
			if u, perr := url.Parse(text); perr == nil && u.User != nil && len(u.User.String()) > 8 && strings.Contains(err.Error(), u.User.String()) {
				t.Fatalf("the error tells the credentials: %v", err)
			}
			return
		}
		if u, err := url.Parse(file.URL); err != nil || file.URL != "" && (u.Host == "" || u.Scheme != "https") {
			t.Fatalf("accepted: %q", file.URL)
		}
	})
}
