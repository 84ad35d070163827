<!doctype html>
<meta charset="utf-8">
<title>hello</title>
<h1>Hello from PHP</h1>
<p>Served by a member of <code>hello</code>, process <?= getmypid() ?>, at <?= date('H:i:s') ?>.</p>
