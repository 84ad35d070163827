package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/gostratos/stratos/store/etcd"
)

// etcdTimeout bounds the look at one server.
const etcdTimeout = 5 * time.Second

// fullShare is the share of its quota from which on a database is too large
// to be left alone.
const fullShare = 0.8

// defaultQuota is etcd's own, in bytes; servers before 3.6 do not tell theirs.
const defaultQuota = 2 << 30

// etcdServers looks at every server of the cluster.
func (d *Doctor) etcdServers(ctx context.Context) []Finding {
	if d.Etcd == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, etcdTimeout)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{
		Context: ctx, Endpoints: d.Etcd.Endpoints, TLS: d.Etcd.TLS, Username: d.Etcd.Username, Password: d.Etcd.Password,
		DialTimeout: etcdTimeout, Logger: zap.NewNop(),
	})
	if err != nil {
		return []Finding{{Check: "etcd", Status: Fail, Detail: err.Error(), Cure: "start the cluster, and see store.etcd in the configuration: endpoints, certificates, username"}}
	}
	defer func() { _ = client.Close() }() // nothing was written
	answers := make([]*pb.StatusResponse, len(d.Etcd.Endpoints))
	errs := make([]error, len(answers))
	var wg sync.WaitGroup
	for i, e := range d.Etcd.Endpoints {
		wg.Go(func() { answers[i], errs[i] = askEtcd(ctx, client, e) })
	}
	wg.Wait()
	return d.etcdFindings(answers, errs)
}

// askEtcd asks one server, and fails at once with the reason if there is no connection.
func askEtcd(ctx context.Context, client *clientv3.Client, endpoint string) (*pb.StatusResponse, error) {
	conn, err := client.Dial(endpoint)
	if err != nil {
		return nil, err
	}
	a, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
	return a, errors.Join(err, conn.Close())
}

func (d *Doctor) etcdFindings(answers []*pb.StatusResponse, errs []error) []Finding {
	var found []Finding
	answer := slices.IndexFunc(answers, func(a *pb.StatusResponse) bool { return a != nil })
	for i, a := range answers {
		f := Finding{Check: "etcd", Status: OK}
		switch {
		case a == nil:
			f.Status, f.Detail = Fail, fmt.Sprintf("%s does not answer: %v", d.Etcd.Endpoints[i], errs[i])
			f.Cure = "start it, and see store.etcd in the configuration: endpoints, ca, cert, key"
			if answer >= 0 {
				f.Status = Warn // the others serve
			}
		case a.Header.ClusterId != answers[answer].Header.ClusterId:
			f.Status, f.Detail = Fail, fmt.Sprintf("%s and %s are of different clusters", d.Etcd.Endpoints[answer], d.Etcd.Endpoints[i])
			f.Cure = "write the endpoints of one cluster"
		default:
			f.Status, f.Detail, f.Cure = d.etcdServer(d.Etcd.Endpoints[i], a)
		}
		found = append(found, f)
	}
	return found
}

// etcdServer judges one answer. What stops the platform comes first.
func (d *Doctor) etcdServer(endpoint string, a *pb.StatusResponse) (s Status, detail, cure string) {
	quota := a.DbSizeQuota
	if quota <= 0 {
		quota = defaultQuota
	}
	const mib = 1 << 20
	detail = fmt.Sprintf("%s runs version %s, its database has %d of %d MiB", endpoint, a.Version, (a.DbSize+mib-1)/mib, quota/mib)
	if a.DbSizeQuota <= 0 {
		detail += " (etcd's default: it does not tell its quota)"
	}
	alarms := strings.Join(a.Errors, "; ")
	switch {
	case tooOld(a.Version):
		return Fail, detail, "upgrade the cluster to " + etcd.OldestServer + " or newer: older ones have known faults"
	case strings.Contains(alarms, "CORRUPT"):
		return Fail, detail + ", and it is alarmed: CORRUPT", "its data differ from the others': stop it, take it out (etcdctl member remove), empty its data folder, and add it again (etcdctl member add)"
	case strings.Contains(alarms, "NOSPACE"):
		return Fail, detail + ", and it is alarmed: NOSPACE: no write is accepted", d.makeRoom(a.Header.Revision) + "; then etcdctl alarm disarm"
	case a.Leader == 0:
		return Fail, detail + ", and it knows no leader", "start the other servers of the cluster: a majority must run and reach each other"
	case float64(a.DbSize) > fullShare*float64(quota):
		return Warn, detail, "make room before it is full: " + d.makeRoom(a.Header.Revision)
	}
	return OK, detail, ""
}

// makeRoom are the commands that give space back. What etcdctl needs besides
// (certificates, a user) is as in the configuration.
func (d *Doctor) makeRoom(revision int64) string {
	set := "export ETCDCTL_ENDPOINTS=" + strings.Join(d.Etcd.Endpoints, ",")
	if d.Etcd.TLS != nil {
		set += ", and ETCDCTL_CACERT, ETCDCTL_CERT and ETCDCTL_KEY as in store.etcd"
	}
	return fmt.Sprintf("%s; then etcdctl compact %d; then etcdctl defrag", set, revision)
}

// tooOld reports whether a version is older than [etcd.OldestServer], or none.
func tooOld(version string) bool {
	v, oldest := numbers(version), numbers(etcd.OldestServer)
	return len(v) != len(oldest) || slices.Compare(v, oldest) < 0
}

// numbers are those of a version like 3.6.1-rc.0; nil if it is none.
func numbers(version string) []int {
	core, _, _ := strings.Cut(version, "-")
	core, _, _ = strings.Cut(core, "+")
	var all []int
	for part := range strings.SplitSeq(core, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil
		}
		all = append(all, n)
	}
	return all
}
