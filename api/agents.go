package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/cloud/controller"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

func (s *Server) agentRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST "+wire.JoinPath, s.join)
	mux.Handle("GET "+wire.AssignmentPath, s.signing(s.assignment))
	mux.Handle("POST "+wire.StatusPath, s.led(s.agent(s.status)))
	mux.Handle("POST "+wire.LogsPath, s.led(s.agent(s.takeLogs)))
	mux.Handle("GET "+wire.BindingsPath, s.signing(s.bindings))
	mux.Handle("POST "+wire.CertificatePath, s.agent(s.agentCertificate))
	mux.Handle("GET "+wire.ArchivePath+"{digest}", s.signing(s.archive))
}

// join needs no signature: the one-time token is the credential.
func (s *Server) join(w http.ResponseWriter, r *http.Request) {
	var req wire.JoinRequest
	err := decode(r, &req)
	if err == nil && req.V != wire.Version {
		err = fmt.Errorf("%w: the agent speaks version %d, the control plane %d", controller.ErrRefused, req.V, wire.Version)
	}
	var m topology.Member
	if err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), storePatience)
		defer cancel()
		m, err = s.Controller.Join(ctx, controller.Join{
			Cluster: topology.ClusterID(req.Cluster), Member: topology.MemberID(req.Member),
			Token: req.Token, PublicKey: req.PublicKey, Instance: topology.InstanceID(req.Instance),
		})
	}
	var cert []byte
	if err == nil {
		cert, err = s.certificate(CertifyMember, string(m.ID), req.CSR)
	}
	if err == nil {
		err = s.assign(w, r, m, cert)
	}
	if err != nil {
		s.fail(w, r, err)
	}
}

func (s *Server) assignment(w http.ResponseWriter, r *http.Request) error {
	m, err := s.memberNow(r)
	if err != nil {
		return err
	}
	if m.State == topology.Terminating || m.State == topology.Terminated {
		return controller.ErrGone
	}
	return s.assign(w, r, m, nil)
}

// assign answers with what a member should serve, and the certificate that
// its agent asked for.
func (s *Server) assign(w http.ResponseWriter, r *http.Request, m topology.Member, cert []byte) error {
	a := wire.Assignment{Heartbeat: s.Heartbeat, Certificate: cert}
	if a.Heartbeat <= 0 {
		a.Heartbeat = 15 * time.Second
	}
	if m.Assigned != nil {
		a.Revision, a.Archive, a.PlanID, a.Config = m.Assigned.Revision, m.Assigned.Archive, m.Assigned.Plan, m.Assigned.Config
		if err := s.readPlan(r, &a); err != nil {
			return err
		}
		if s.Secrets != nil {
			if err := s.Secrets.Runtime(r.Context(), m.Cluster, &a); err != nil {
				return err
			}
		}
	}
	s.reply(w, a)
	return nil
}

func (s *Server) readPlan(r *http.Request, a *wire.Assignment) (err error) {
	b, err := s.Blobs.Get(r.Context(), artifact.Digest(a.PlanID))
	if err != nil {
		return fmt.Errorf("plan of release %s: %w", a.Revision, err)
	}
	defer func() {
		if cerr := b.Close(); err == nil {
			err = cerr
		}
	}()
	text, err := io.ReadAll(b) // to its end: only there it is known to be whole
	if err == nil {
		err = json.Unmarshal(text, &a.Plan)
	}
	if err != nil {
		return fmt.Errorf("plan of release %s: %w", a.Revision, err)
	}
	return nil
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	var st wire.Status
	if err := decode(r, &st); err != nil {
		return err
	}
	m, _ := memberOf(r)
	report := controller.Report{
		Seq: st.Seq, Ready: st.Phase == wire.PhaseReady && st.Serving != nil, Reason: st.Reason,
		Restarts: st.Restarts, Bound: st.Bound, BindError: tail(st.BindError, 4<<10),
	}
	if st.Serving != nil {
		rt := runtimeOf(*st.Serving)
		report.Serving = &rt
	}
	for _, old := range st.Retiring {
		report.Retiring = append(report.Retiring, runtimeOf(old))
	}
	if f := st.Refused; f != nil {
		report.Refused = &topology.Refusal{Release: releaseOf(f.Release), Reason: f.Reason, Log: tail(f.Log, 8<<10)}
	}
	if err := s.Controller.Report(r.Context(), m.Cluster, m.ID, report); err != nil {
		return err
	}
	// Its load is a signal for scaling; without seconds it says nothing of traffic.
	err := s.Recorder.Record(autoscale.Report{
		Source: "agent/" + string(m.ID), Seq: st.Seq, Cluster: m.Cluster, LoadAverage: st.Load, Memory: float64(st.Memory),
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errBadRequest, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// archive hands out the files of the release that the member should serve, or
// serves, or goes back to: the one that is current in its cluster.
func (s *Server) archive(w http.ResponseWriter, r *http.Request) error {
	m, err := s.memberNow(r)
	if err != nil {
		return err
	}
	digest := r.PathValue("digest")
	if !(m.Assigned != nil && m.Assigned.Archive == digest || m.Serving != nil && m.Serving.Release.Archive == digest) {
		c, err := store.Read[topology.Cluster](r.Context(), s.Store, topology.ClusterKey(m.Cluster))
		if err != nil {
			return err
		}
		if c.Value.Current == nil || c.Value.Current.Archive != digest {
			return errForbidden
		}
	}
	b, err := s.Blobs.Get(r.Context(), artifact.Digest(digest))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-tar")
	_, err = io.Copy(w, b)
	if cerr := b.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		s.log().Warn("archive broken off", "digest", digest, "err", err)
		panic(http.ErrAbortHandler) // the only way to tell the agent that it is not whole
	}
	return nil
}

func (s *Server) takeLogs(w http.ResponseWriter, r *http.Request) error {
	var l wire.Logs
	if err := decode(r, &l); err != nil {
		return err
	}
	m, _ := memberOf(r)
	if err := s.Logs.Append(m.Cluster, m.ID, l); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// bindings answers with who may connect to what the member serves.
func (s *Server) bindings(w http.ResponseWriter, r *http.Request) error {
	m, _ := memberOf(r)
	if s.Secrets == nil {
		w.WriteHeader(http.StatusNoContent) // an empty list would disconnect everybody
		return nil
	}
	all, err := s.Secrets.Bindings(r.Context(), m.Cluster)
	if err != nil {
		return err
	}
	s.reply(w, all)
	return nil
}

func runtimeOf(r wire.Runtime) topology.Runtime {
	return topology.Runtime{Release: releaseOf(r.Release), Ports: r.Ports, TLS: r.TLS}
}

func releaseOf(r wire.ReleaseRef) topology.Release {
	return topology.Release{Revision: r.Revision, Archive: r.Archive, Plan: r.PlanID, Config: r.Config}
}

// tail is the end of text, at most n bytes, beginning with a whole line if it was cut.
func tail(text string, n int) string {
	if len(text) <= n {
		return text
	}
	text = text[len(text)-n:]
	if _, rest, ok := strings.Cut(text, "\n"); ok {
		return rest
	}
	return text
}

// decode reads a JSON body.
func decode(r *http.Request, into any) error {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		return fmt.Errorf("%w: %w", errBadRequest, err)
	}
	return nil
}
