<?php
// WordPress on a platform: the database is in DATABASE_URL, the keys are made
// of APP_SECRET, the address is the one that was asked for.
$db = parse_url(getenv('DATABASE_URL'));
define('DB_HOST', $db['host'] . ':' . $db['port']);
define('DB_USER', $db['user']);
define('DB_PASSWORD', $db['pass']);
define('DB_NAME', trim($db['path'], '/'));
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');
foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $use) {
	define($use . '_KEY', hash_hmac('sha256', $use . ' key', getenv('APP_SECRET')));
	define($use . '_SALT', hash_hmac('sha256', $use . ' salt', getenv('APP_SECRET')));
}
if (isset($_SERVER['HTTP_HOST'])) {
	$scheme = ($_SERVER['HTTP_X_FORWARDED_PROTO'] ?? 'http') === 'https' ? 'https' : 'http';
	define('WP_HOME', $scheme . '://' . $_SERVER['HTTP_HOST']);
	define('WP_SITEURL', WP_HOME);
}
// Releases come from Git: nothing changes them in place, or calls home.
define('DISALLOW_FILE_MODS', true);
define('AUTOMATIC_UPDATER_DISABLED', true);
define('WP_HTTP_BLOCK_EXTERNAL', true);
define('DISABLE_WP_CRON', true);
$table_prefix = 'wp_';
if (!defined('ABSPATH')) define('ABSPATH', __DIR__ . '/');
require_once ABSPATH . 'wp-settings.php';
