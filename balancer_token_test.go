package stratos_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/balancer"
)

// A token that is refused is said so at once; a balancer that tries for ever
// would only fill its log.
func TestBalancerWhoseTokenIsRefused(t *testing.T) {
	for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
		}))
		b := stratos.Balancer{Control: []string{control.URL}, Token: "a-secret", Dir: t.TempDir(), Backend: balancer.Elsewhere{}}
		err := b.Run(t.Context())
		control.Close()
		require.ErrorContains(t, err, "has to be of kind balancer")
		require.NotContains(t, err.Error(), "a-secret")
	}
}
