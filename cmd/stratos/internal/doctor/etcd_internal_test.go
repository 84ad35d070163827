package doctor

import (
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/gostratos/stratos/store/etcd"
)

func TestTooOld(t *testing.T) {
	for _, c := range []struct {
		version string
		want    bool
	}{
		{"3.5.13", true}, {"3.5.14", false}, {"3.5.21", false}, {"3.6.0-rc.1", false}, {"3.7.3+git", false},
		{"3.4.23", true}, {"4.0.0", false}, {"", true}, {"new", true}, {"3.6", true}, {"3.5.14.1", true},
	} {
		require.Equal(t, c.want, tooOld(c.version), c.version)
	}
}

func TestEtcdAnswers(t *testing.T) {
	d := &Doctor{Etcd: &etcd.Config{Endpoints: []string{"h:1"}}}
	for _, c := range []struct {
		name   string
		answer *pb.StatusResponse
		status Status
		detail string
		cure   string
	}{
		{"well", &pb.StatusResponse{Version: "3.5.21", Leader: 1, DbSize: 1 << 20}, OK, "h:1 runs version 3.5.21, its database has 1 of 2048 MiB (etcd's default", ""},
		{"too old", &pb.StatusResponse{Version: "3.4.23", Leader: 1}, Fail, "3.4.23", "upgrade the cluster to " + etcd.OldestServer},
		{"corrupt", &pb.StatusResponse{Version: "3.6.0", Leader: 1, Errors: []string{"memberID:1 alarm:CORRUPT "}}, Fail, "CORRUPT", "etcdctl member remove"},
		{"almost full", &pb.StatusResponse{Version: "3.6.0", Leader: 1, DbSize: 90, DbSizeQuota: 100, Header: &pb.ResponseHeader{Revision: 7}}, Warn, "of 0 MiB", "etcdctl compact 7; then etcdctl defrag"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, detail, cure := d.etcdServer("h:1", c.answer)
			require.Equal(t, c.status, s)
			require.Contains(t, detail, c.detail)
			require.Contains(t, cure, c.cure)
		})
	}
}
