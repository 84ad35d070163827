package client

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// LogLine is a line that a member printed.
type LogLine struct {
	Member topology.MemberID `json:"member"`
	N      uint64            `json:"n"`     // its number, growing for each member; a gap is what was lost
	Level  string            `json:"level"` // debug, info, warn or error, as far as can be told
	At     time.Time         `json:"at"`
	Source string            `json:"source"` // the process's name, "agent" for the agent itself
	Text   string            `json:"text"`
}

// LogQuery says which lines are wanted. The zero LogQuery wants the last hundred.
type LogQuery struct {
	Lines        int       // at most so many, the last ones. Default 100
	Since, Until time.Time // from Since on, and before Until. Default: any time
	Level        string    // the least bad one that is wanted. Default: all
	Text         string    // what is in the line, in any case of letters
	Member       topology.MemberID
}

func (q LogQuery) path(t tenant.ID, alias string, follow bool) string {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Lines != 0 {
		set("lines", strconv.Itoa(q.Lines))
	}
	for name, at := range map[string]time.Time{"since": q.Since, "until": q.Until} {
		if !at.IsZero() {
			set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	set("level", q.Level)
	set("text", q.Text)
	set("member", string(q.Member))
	if follow {
		set("follow", "1")
	}
	return fmt.Sprintf("/v1/tenants/%s/subscriptions/%s/logs?%s", url.PathEscape(string(t)), url.PathEscape(alias), v.Encode())
}

// Logs returns lines of a subscription's members, the oldest first.
func (c *Client) Logs(ctx context.Context, t tenant.ID, alias string, q LogQuery) ([]LogLine, error) {
	var out []LogLine
	err := c.Do(ctx, http.MethodGet, q.path(t, alias, false), nil, &out)
	return out, err
}

const (
	maxLogLine = 1 << 20          // bytes of one line of a stream
	logsFlow   = 45 * time.Second // three times as often as the control plane says something
)

// errEnded says that a stream of lines ended, which it never does by itself.
var errEnded = errors.New("the control plane ended the stream")

// FollowLogs hands lines to add, first what [Client.Logs] returns and then what
// comes, until ctx ends or add fails, whose error it returns. Any other error
// says that the control plane was lost, or that lines came faster than they
// were taken: a query with Since goes on from the last line's time.
func (c *Client) FollowLogs(ctx context.Context, t tenant.ID, alias string, q LogQuery, add func(LogLine) error) error {
	quiet, ctx := newSilence(ctx)
	defer quiet.end()
	quiet.within(logsFlow)
	path := q.path(t, alias, true)
	var body io.ReadCloser
	err := c.each(ctx, func(base string) error {
		resp, err := c.send(ctx, http.MethodGet, base+path, nil, nil)
		if err != nil {
			return err
		}
		if resp.StatusCode == http.StatusOK {
			body = resp.Body
			return nil
		}
		defer resp.Body.Close() // read as far as it matters
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return err
		}
		return &Error{Path: path, Code: resp.StatusCode, Text: textOf(answer)}
	})
	if err != nil {
		return quiet.explain(err)
	}
	defer body.Close() // the stream has no end that could be read
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxLogLine)
	for lines.Scan() {
		quiet.within(logsFlow)
		if len(lines.Bytes()) == 0 {
			continue
		}
		if err := addLine(lines.Bytes(), add); err != nil {
			return err
		}
	}
	return quiet.explain(cmp.Or(lines.Err(), errEnded))
}

// addLine hands on one line of a stream, which may be the reason of its end.
func addLine(text []byte, add func(LogLine) error) error {
	var line struct {
		LogLine
		Error string `json:"error"`
	}
	if err := json.Unmarshal(text, &line); err != nil {
		return fmt.Errorf("a line of the log's stream: %w", err)
	}
	if line.Error != "" {
		return errors.New(line.Error)
	}
	return add(line.LogLine)
}
