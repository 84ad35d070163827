package controller

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// intentPrefix is where intents are. Nobody else reads them, and they are never streamed.
const intentPrefix = "intents/"

func intentKey(m topology.MemberID) string { return intentPrefix + string(m) }

// intent is a recorded wish for one instance: everything that is needed to ask
// for it again.
type intent struct {
	V       int                `json:"v"`
	Member  topology.MemberID  `json:"member"`
	Cluster topology.ClusterID `json:"cluster"`
	// Attempt rises only in the transaction that saw the former one surely
	// gone or refused.
	Attempt int        `json:"attempt"`
	Account string     `json:"account"`
	Spec    cloud.Spec `json:"spec"`            // the rendered request
	SentAt  time.Time  `json:"sentAt,omitzero"` // zero: no call has left
}

// launchToken is the identity of one attempt to launch one member.
func launchToken(id store.ID, m topology.MemberID, attempt int) string {
	sum := sha256.Sum256([]byte(id.String() + "/" + string(m) + "/" + strconv.Itoa(attempt)))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:40])
}

// newJoinToken makes a one-time token and the hash of it that is recorded.
func newJoinToken() (token string, hash []byte) {
	var b [32]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	token = base64.RawURLEncoding.EncodeToString(b[:])
	return token, hashToken(token)
}

func hashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// renderIntent makes the intent for a new attempt to launch m.
func (c *Controller) renderIntent(id store.ID, m topology.Member, token, size string, attempt int) (intent, error) {
	data, err := c.UserData(m, token)
	if err != nil {
		return intent{}, fmt.Errorf("user-data of member %s: %w", m.ID, err)
	}
	return intent{
		V: topology.Schema, Member: m.ID, Cluster: m.Cluster, Attempt: attempt, Account: m.Account,
		Spec: cloud.Spec{
			Token:     launchToken(id, m.ID, attempt),
			Name:      fmt.Sprintf("%s-%s-%d", strings.ReplaceAll(string(m.Cluster), ".", "-"), m.ID, attempt),
			Partition: m.Partition,
			Size:      size,
			Tags: map[string]string{
				cloud.TagOwner:   id.UUID,
				cloud.TagGen:     strconv.FormatInt(id.Generation, 10),
				cloud.TagMember:  string(m.ID),
				cloud.TagCluster: string(m.Cluster),
				cloud.TagAttempt: strconv.Itoa(attempt),
			},
			UserData: data,
		},
	}, nil
}
