# What stands behind the first check: Satisfy, sub-requests of a gated page, values of headers, odd lists.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use POSIX ();
use Time::HiRes qw(sleep time);

my $up = upstream_base();
my $httpd = httpd(
    issuer_section('a', 'GateRole dev groups=devs')
        . gated('/headers/', 'GateHeader X-Ref claim:ref', 'GateHeader X-Tags claim:tags', 'Require valid-user')
        . gated('/any/', 'Satisfy Any')
        . gated('/anyrule/', 'Satisfy Any', 'Order deny,allow', 'Deny from all', 'Require gate-role dev')
        . gated('/anynet/', 'Satisfy Any', 'Order deny,allow', 'Deny from all', 'Allow from 127.0.0.1', 'Require gate-role dev')
        . gated('/both/', 'Satisfy All', 'Order deny,allow', 'Allow from all', 'Require gate-role dev')
        . gated('/secret/', 'Require gate-role dev')
        . qq(<Directory "\@DIR\@/htdocs/plain">\n Require expr "gate_claim('sub') == 'dana'"\n</Directory>\n)
        . "<Location /open/>\n ProxyPass $up/open/ nocanon\n</Location>\n"
        . qq(<Directory "\@DIR\@/htdocs/ssi">\n Options +Includes\n AddOutputFilter INCLUDES .shtml\n AddType text/html .shtml\n AuthType Gate\n AuthName x\n Require valid-user\n</Directory>\n),
    modules => [ 'include', 'access_compat' ],
);
expect_in_log(qr/AH0(?:1630|1629|1617|1374|1797)|include/, qr/GATE401: refused: role: .*got no role/);
mkdir $httpd->dir . "/htdocs/$_" for qw(ssi plain);
$httpd->write_file('htdocs/plain/p.txt', "plain\n");
$httpd->write_file('htdocs/ssi/plain.shtml', qq(before <!--#include virtual="/plain/p.txt" -->\n));
$httpd->write_file('htdocs/ssi/open.shtml',   qq(<!--#include virtual="/open/x" -->\n));
$httpd->write_file('htdocs/ssi/secret.shtml', qq(before <!--#include virtual="/secret/x" -->\n));

my $dev  = mint(issuer => 'a', claims => { groups => ['devs'] });
my $none = mint(issuer => 'a');
my $bad  = mint(issuer => 'a', mutate => 'flip_sig');

# -- a gated page that takes in others: each is judged for itself, and no identity spills over
my $answer = $httpd->get('/ssi/open.shtml', token => $dev, headers => [ 'X-Forwarded-User' => 'mallory' ]);
like($answer->body, qr/"target":"\/open\/x"/, 'a gated page takes in an open one');
unlike($answer->body, qr/dana|mallory|X-Gate|"Authorization"/i, "which gets no identity, not the page's either");
$answer = $httpd->get('/ssi/secret.shtml', token => $dev);
like($answer->body, qr/"X-Forwarded-User","dana"/i, 'a gated page takes in another, with the role');
$answer = $httpd->get('/ssi/secret.shtml', token => $none);
like($answer->body, qr/^before /, 'without the role the page comes');
unlike($answer->body, qr/"target"/, 'and the other does not');
$answer = $httpd->get('/ssi/plain.shtml', token => $dev);
like($answer->body, qr/^before /, 'a gated page takes in one that is not gated and asks who it is');
unlike($answer->body, qr/plain/, 'where nobody is known');

# -- Satisfy
refused($httpd->get('/any/x'), 401, 'token_missing', 'Satisfy Any without any rule: a token is needed');
passes($httpd->get('/any/x', token => $none), 'and enough');
refused($httpd->get('/any/x', token => $bad), 401, 'signature', 'and a bad one is refused');
refused($httpd->get('/anyrule/x'), 401, 'token_missing', 'Satisfy Any, address denied: a token is needed');
refused($httpd->get('/anyrule/x', token => $none), 403, 'role', 'and its role');
passes($httpd->get('/anyrule/x', token => $dev), 'which is enough');
refused($httpd->get('/anyrule/x', token => $bad), 401, 'signature', 'a bad token is refused');
$answer = $httpd->get('/anynet/x', headers => [ 'X-Forwarded-User' => 'mallory' ]);
passes($answer, 'Satisfy Any, address allowed: no token is needed');
is($answer->sent('X-Forwarded-User'), undef, 'and there is no identity');
refused($httpd->get('/anynet/x', token => $bad), 401, 'signature', 'but a bad one is refused there too');
refused($httpd->get('/both/x'), 401, 'token_missing', 'Satisfy All: a token is needed');
passes($httpd->get('/both/x', token => $dev), 'and passes');

# -- values
for my $value ("main\nX-Evil: 1", "main\r", "a\x{0}b", "a\x{7f}", "a\x{85}b") {
    $answer = $httpd->get('/headers/x', token => mint(issuer => 'a', claims => { ref => $value }));
    is($answer->sent('X-Ref'), undef, 'a claim with a control character makes no header');
    is($answer->sent('X-Evil'), undef, 'and no other');
}
is($httpd->get('/headers/x', token => mint(issuer => 'a', claims => { ref => 'a,b%' }))->sent('X-Ref'), 'a,b%', 'one text is sent as it is');
is($httpd->get('/headers/x', token => mint(issuer => 'a', claims => { tags => [ "a\nb", 'c,d' ] }))->sent('X-Tags'), 'a%0Ab,c%2Cd', 'items of a list are encoded');
refused($httpd->get('/headers/x', token => mint(issuer => 'a', claims => { aud => $_ })), 401, 'claim_type', 'aud that is a list not of texts alone') for [ 5, 'gate' ], [ 'gate', undef ], [ ['gate'] ];
refused($httpd->get('/headers/x', token => mint(issuer => 'a', claims => { aud => { gate => 1 } })), 401, 'claim_type', 'aud that is an object');

# -- a server that stops waits for nobody who waits for keys
control('set', issuer => 'stuck', mode => 'hang');
my $stopping = httpd(issuer_section('stuck', 'GateTimeout 20s') . issuer_section('a') . gated('/', 'Require valid-user'));
passes($stopping->get('/', token => $none), 'a server of two issuers');
my $wait = mint(issuer => 'stuck');
my @waiting;
for (1 .. 4) {
    my $pid = fork // die $!;
    if (!$pid) { eval { $stopping->get('/', token => $wait) }; POSIX::_exit(0) }
    push @waiting, $pid;
}
sleep 1;
my $from = time;
$stopping->stop;
cmp_ok(time - $from, '<', 7, 'stops while somebody waits for keys');
unlike($stopping->error_log, qr/AH0004[56]/, 'and no child must be killed');
waitpid $_, 0 for @waiting;
expect_in_log(qr/GATE401: refused: keys_unavailable: |GATE311: issuer stuck: /);

finish();
