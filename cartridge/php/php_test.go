package php_test

import (
	"testing"

	"github.com/gostratos/stratos/cartridge/cartridgetest"
	"github.com/gostratos/stratos/cartridge/php"
)

// slow counts the time by itself: sleep(1) would end early when the worker is
// told to stop, as all of its group are.
const slow = `<?php header('X-Accel-Buffering: no'); echo 'first'; ob_flush(); flush();
$end = microtime(true) + 1; while (microtime(true) < $end) usleep(10000); echo 'done';`

func TestType(t *testing.T) {
	cartridgetest.Run(t, php.Type{}, cartridgetest.Case{
		Files: map[string]string{"index.php": `<?php echo 'env=', getenv('GREETING');`, "slow.php": slow},
		Env:   map[string]string{"GREETING": "{{hello}}"},
		Want:  map[string]string{"/": "env={{hello}}", "/any/thing": "env="},
		Slow:  "/slow.php",
	})
}
