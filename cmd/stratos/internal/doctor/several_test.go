package doctor_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gostratos/stratos/artifact/s3"
	"github.com/gostratos/stratos/cmd/stratos/internal/doctor"
	"github.com/gostratos/stratos/internal/ca"
	"github.com/gostratos/stratos/internal/testprograms/etcdserver"
	"github.com/gostratos/stratos/internal/testprograms/s3server"
	"github.com/gostratos/stratos/store/etcd"
)

// findings returns all that a check found.
func findings(all []doctor.Finding, check string) (found []doctor.Finding) {
	for _, f := range all {
		if f.Check == check {
			found = append(found, f)
		}
	}
	return found
}

func TestEtcd(t *testing.T) {
	c := etcdserver.Run(t, etcdserver.Options{Nodes: 3})
	d := healthy(t)
	d.Etcd = &etcd.Config{Endpoints: c.Endpoints()}
	all := d.Examine(t.Context())
	require.False(t, doctor.Failed(all), "%+v", all)
	found := findings(all, "etcd")
	require.Len(t, found, 3)
	for i, f := range found {
		require.Equal(t, doctor.OK, f.Status, "%+v", f)
		require.Regexp(t, c.Endpoints()[i]+` runs version 3\.[0-9.]+, its database has [0-9]+ of 2048 MiB`, f.Detail)
	}

	c.Kill(1)
	all = d.Examine(t.Context())
	require.False(t, doctor.Failed(all), "two of three serve: %+v", all)
	found = findings(all, "etcd")
	require.Equal(t, doctor.Warn, found[1].Status)
	require.Contains(t, found[1].Detail, c.Endpoints()[1]+" does not answer: ")
	require.Contains(t, found[1].Detail, "connection refused")

	c.Kill(0)
	require.Eventually(t, func() bool {
		f := findings(d.Examine(t.Context()), "etcd")[2]
		return f.Status == doctor.Fail && f.Cure == "start the other servers of the cluster: a majority must run and reach each other"
	}, 30*time.Second, 100*time.Millisecond)

	c.Kill(2)
	all = d.Examine(t.Context())
	require.True(t, doctor.Failed(all))
	for _, f := range findings(all, "etcd") {
		require.Equal(t, doctor.Fail, f.Status, "%+v", f)
	}
}

// TestEtcdIsFull does what the findings say, and looks again.
func TestEtcdIsFull(t *testing.T) {
	// etcd counts what it has committed to its file, by default every 100 ms:
	// a fast disk would fill the quota between two counts.
	c := etcdserver.Run(t, etcdserver.Options{Args: []string{"--quota-backend-bytes", fmt.Sprint(4 << 20), "--backend-batch-limit", "1"}})
	client, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints()})
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	d := healthy(t)
	d.Etcd = &etcd.Config{Endpoints: c.Endpoints()}
	look := func() doctor.Finding { return findings(d.Examine(t.Context()), "etcd")[0] }
	require.Equal(t, doctor.OK, look().Status)

	value := string(bytes.Repeat([]byte("x"), 200<<10))
	warned := false
	for err == nil {
		_, err = client.Put(t.Context(), "k", value)
		warned = warned || look().Status == doctor.Warn
	}
	require.ErrorContains(t, err, "database space exceeded")
	require.True(t, warned, "nothing was said before it was full")
	f := look()
	require.Equal(t, doctor.Fail, f.Status)
	require.Contains(t, f.Detail, "NOSPACE: no write is accepted")
	status, err := client.Status(t.Context(), c.Endpoints()[0])
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("export ETCDCTL_ENDPOINTS=%s; then etcdctl compact %d; then etcdctl defrag; then etcdctl alarm disarm",
		c.Endpoints()[0], status.Header.Revision), f.Cure)

	_, err = client.Compact(t.Context(), status.Header.Revision, clientv3.WithCompactPhysical())
	require.NoError(t, err)
	_, err = client.Defragment(t.Context(), c.Endpoints()[0])
	require.NoError(t, err)
	_, err = client.AlarmDisarm(t.Context(), &clientv3.AlarmMember{})
	require.NoError(t, err)
	f = look()
	require.Equal(t, doctor.OK, f.Status, "%+v", f)
	require.Empty(t, f.Cure)
}

func TestEtcdOfTwoClusters(t *testing.T) {
	a, b := etcdserver.Run(t, etcdserver.Options{}), etcdserver.Run(t, etcdserver.Options{})
	d := healthy(t)
	d.Etcd = &etcd.Config{Endpoints: append(a.Endpoints(), b.Endpoints()...)}
	found := findings(d.Examine(t.Context()), "etcd")
	require.Equal(t, doctor.OK, found[0].Status)
	require.Equal(t, doctor.Fail, found[1].Status)
	require.Contains(t, found[1].Detail, "are of different clusters")

	// A server without TLS, asked with it.
	d.Etcd = &etcd.Config{Endpoints: []string{"https" + a.Endpoints()[0][len("http"):]}, TLS: &tls.Config{MinVersion: tls.VersionTLS12}}
	found = findings(d.Examine(t.Context()), "etcd")
	require.Equal(t, doctor.Fail, found[0].Status)
	require.Contains(t, found[0].Detail, "does not answer: ")
}

func TestAddressInUseWithRecordsElsewhere(t *testing.T) {
	lis := listen(t)
	defer lis.Close()
	d := healthy(t)
	d.API, d.Listen = lis.Addr().String(), "none"
	d.Etcd = &etcd.Config{Endpoints: []string{"127.0.0.1:1"}}
	all := d.Examine(t.Context())
	f := find(t, all, "API address")
	require.Equal(t, doctor.Warn, f.Status, "it may be this control plane's: %+v", f)
	require.Equal(t, doctor.OK, find(t, all, "balancer address").Status)
}

func TestBucket(t *testing.T) {
	s := s3server.Start(t, s3server.Options{})
	d := healthy(t)
	d.Bucket = &s3.Blobs{Bucket: s.Bucket, Endpoint: s.Endpoint, Region: s.Region, PathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, "")}
	require.Equal(t, doctor.Finding{Check: "bucket", Status: doctor.OK, Detail: s.Bucket + " can be read"}, find(t, d.Examine(t.Context()), "bucket"))

	d.Bucket = &s3.Blobs{Bucket: "none", Endpoint: s.Endpoint, Region: s.Region, PathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, "")}
	f := find(t, d.Examine(t.Context()), "bucket")
	require.Equal(t, doctor.Fail, f.Status)
	require.Contains(t, f.Detail, "create the bucket")

	d.Bucket = &s3.Blobs{Bucket: s.Bucket, Endpoint: s.Endpoint, Region: s.Region, PathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, "hunter2", "")}
	f = find(t, d.Examine(t.Context()), "bucket")
	require.Equal(t, doctor.Fail, f.Status)
	require.NotContains(t, f.Detail, "hunter2")
	require.NotContains(t, f.Detail, s.SecretKey)
}

func TestMasterKey(t *testing.T) {
	d := healthy(t)
	require.Empty(t, findings(d.Examine(t.Context()), "master key"))
	d.MasterKey = filepath.Join(t.TempDir(), "master.key")
	f := find(t, d.Examine(t.Context()), "master key")
	require.Equal(t, doctor.OK, f.Status)
	require.Contains(t, f.Detail, "the first control plane makes it")
	require.NoFileExists(t, d.MasterKey)

	_, err := ca.LoadOrMakeKey(d.MasterKey)
	require.NoError(t, err)
	require.Equal(t, doctor.OK, find(t, d.Examine(t.Context()), "master key").Status)

	require.NoError(t, os.Chmod(d.MasterKey, 0o640))
	f = find(t, d.Examine(t.Context()), "master key")
	require.Equal(t, doctor.Fail, f.Status)
	require.Contains(t, f.Detail, "mode 0640")
	require.Contains(t, f.Cure, "chmod 600 "+d.MasterKey)

	require.NoError(t, os.WriteFile(d.MasterKey, []byte("hunter2"), 0o600))
	require.NoError(t, os.Chmod(d.MasterKey, 0o600))
	f = find(t, d.Examine(t.Context()), "master key")
	require.Equal(t, doctor.Fail, f.Status)
	require.NotContains(t, f.Detail+f.Cure, "hunter2")
}

func TestCertificates(t *testing.T) {
	made := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	authority, err := ca.New("operator", made)
	require.NoError(t, err)
	dir := t.TempDir()
	good, broken := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "broken.pem")
	require.NoError(t, os.WriteFile(good, append([]byte("a comment\n"), authority.CertPEM()...), 0o600))
	require.NoError(t, os.WriteFile(broken, []byte("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"), 0o600))
	for _, c := range []struct {
		name, path string
		optional   bool
		now        time.Time
		status     doctor.Status // empty: no finding
		detail     string
	}{
		{"new", good, false, made, doctor.OK, `ca.pem: "operator" is valid until 2036-`},
		{"ends soon", good, false, authority.NotAfter().Add(-20*24*time.Hour - time.Minute), doctor.Warn, ", for 20 days"},
		{"ended", good, false, authority.NotAfter().Add(time.Second), doctor.Fail, `"operator" ended on 2036-`},
		{"to come", good, false, made.Add(-24 * time.Hour), doctor.Fail, "which is to come"},
		{"away", filepath.Join(dir, "none"), false, made, doctor.Fail, "no such file"},
		{"not made yet", filepath.Join(dir, "none"), true, made, "", ""},
		{"broken", broken, true, made, doctor.Fail, "broken.pem: x509: "},
		{"a folder", dir, false, made, doctor.Fail, "is a directory"},
		{"no certificate", "/dev/null", false, made, doctor.Fail, "holds no certificate in PEM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := healthy(t)
			d.Now = c.now
			d.Certificates = []doctor.Certificate{{Check: "authority", Path: c.path, Optional: c.optional, Cure: "renew it"}}
			found := findings(d.Examine(t.Context()), "authority")
			if c.status == "" {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			require.Equal(t, c.status, found[0].Status, "%+v", found[0])
			require.Contains(t, found[0].Detail, c.detail)
			require.Equal(t, c.status == doctor.OK, found[0].Cure == "", "%+v", found[0])
		})
	}
}
