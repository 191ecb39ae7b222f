# Each decision is written down once, as Elastic Common Schema wants it, whatever the request holds.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Audit;
use Time::HiRes qw(sleep);

my $issuers = issuer_section('ci', "GateKind gitlab\nGateRole deployer project_path=shop/orders") . issuer_section('okta', "GateRole dev groups=devs\nGateRole admin groups=admins");
my $job   = mint(issuer => 'ci', claims => {
    user_login => 'ana', user_email => 'ana@example.com', project_path => 'shop/orders', job_id => '302', pipeline_id => '574', ref => 'main', sha => 'a' x 40, jti => 'token-1' });
my $dev     = mint(issuer => 'okta', claims => { sub => "Ze\"\x{301}e\\", groups => ['devs'] });
my $expired = mint(issuer => 'okta', claims => { exp => time - 3600 });

my $httpd = httpd(<<"CONF" . $issuers . join '',
GateAuditLog \@DIR\@/audit.log
CONF
    gated('/ci/', 'GateAccept ci', 'Require gate-role deployer'),
    gated('/dev/', 'GateAccept okta', 'Require gate-role dev admin'),
    gated('/admin/', 'Require gate-role admin'),
    gated('/quiet/', 'GateAuditOn none', 'Require valid-user'),
    gated('/refusals/', 'GateAuditOn refusals', 'Require valid-user'),
    gated('/query/', 'GateTokenFrom query:gate_token', 'Require valid-user'),
    gated('/open/', 'Require all granted'),
    gated('/page/', 'ErrorDocument 403 /index.html', 'Require gate-role admin'),
    "<Location /plain/>\nRequire all granted\n</Location>\n", "RewriteEngine On\nRewriteRule ^/moved/ /ci/x [PT]\n");
my $log = $httpd->dir . '/audit.log';

sub latest { my ($count) = @_; my @all = Gate::Audit::decisions($log, $count); is(scalar @all, $count, "$count decisions are written down"); return $all[-1] }

my ($start) = Gate::Audit::wait_for($log, 1, sub { $_[0]{event}{action} eq 'gate-start' });
ok($start, 'the start is written down');

my $answer = $httpd->get('/ci/x?private=1', token => $job, headers => [ 'User-Agent' => "curl\xff\"x" ]);
passes($answer, 'a job passes');
my $line = latest(1);
is($line->{user}{name}, 'ana', 'the person');
is($line->{user}{email}, 'ana@example.com', 'the address');
is_deeply($line->{user}{roles}, ['deployer'], 'the roles');
is_deeply([ @{ $line->{gitlab_gate} }{qw(issuer project pipeline job ref sha mode token_id)} ], [ 'ci', 'shop/orders', 574, 302, 'main', 'a' x 40, 'enforce', 'token-1' ], 'project, pipeline, job, ref, sha, issuer');
is_deeply([ $line->{event}{outcome}, $line->{event}{reason}, $line->{http}{response}{status_code}, $line->{rule}{name} ], [ 'success', undef, 200, '/ci/' ], 'the outcome and the place');
is_deeply([ @{ $line->{source} }{qw(ip)}, $line->{url}{path}, $line->{http}{request}{method} ], [ '127.0.0.1', '/ci/x', 'GET' ], 'where from and where to, without the query');
ok($line->{http}{request}{id}, 'the id of the request');

refused($answer = $httpd->get('/admin/', token => $dev), 403, 'role', 'a wrong role is refused');
$line = latest(2);
is_deeply([ $line->{event}{outcome}, $line->{event}{reason}, $line->{http}{response}{status_code}, $line->{http}{request}{id} ],
    [ 'failure', 'role', 403, $answer->header('X-Gate-Request') ], 'code, status and id are the answer\'s');
like($line->{message}, qr/wanted role admin/, 'with the detail');
is($line->{user}{name}, "Ze\"\x{301}e\\", 'the person who was refused');

refused($httpd->get('/dev/'), 401, 'token_missing', 'no token');
is(latest(3)->{event}{reason}, 'token_missing', 'is written down');
refused($httpd->get('/dev/', token => $expired), 401, 'expired', 'an expired token');
is(latest(4)->{user}, undef, 'is nobody\'s');

$httpd->get('/quiet/', token => $dev);
$httpd->get('/refusals/', token => $dev);
refused($httpd->get('/refusals/'), 401, 'token_missing', 'only refusals');
is(latest(5)->{rule}{name}, '/refusals/', 'where only refusals are wanted');

is($httpd->get('/index.html')->status, 200, 'what the gate does not look at passes');
is($httpd->get('/plain/')->status, 404, 'found or not');
latest(5);

my $page = $httpd->get('/page/', token => $dev);
is($page->status, 403, 'an ErrorDocument');
is($page->body, "hello\n", 'is served');
$line = latest(6);
is_deeply([ $line->{event}{reason}, $line->{http}{response}{status_code}, $line->{url}{path} ], [ 'role', 403, '/page/' ], 'and there is one line, of the refusal');

passes($httpd->get("/query/x?gate_token=$dev&b=1"), 'a token in the query');
unlike(JSON->new->encode(latest(7)), qr/gate_token/, 'is not in the log');
passes($httpd->get('/open/'), 'a place that is open');
is(latest(8)->{user}, undef, 'is written down without a person');
is($httpd->raw("GET /ci/\x01\xff\"\\%0a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")->status =~ /^4/ ? 1 : 0, 1, 'garbage is refused');
refused($httpd->get("/dev/%ff%22%5c%0d%0a%e2%80%a8", token => $expired), 401, 'expired', 'an odd path');
my ($odd) = grep { ($_->{url}{path} || '') =~ m{^/dev/.} } Gate::Audit::wait_for($log, 9, sub { $_[0]{event}{action} eq 'access' });
ok($odd, 'is JSON in the log');

$httpd->stop;
my @all = Gate::Audit::lines($log);
is($all[-1]{event}{action}, 'gate-stop', 'the stop is written down');
ok(scalar(grep { $_->{event}{action} eq 'keys-changed' } @all) >= 2, 'each issuer\'s keys are written down');
is(join("\n", grep { length } map { Gate::Audit::wrong($_) } @all), '', 'every line is as the schema wants it');
my $text = Gate::Audit::text($log);
is(scalar(grep { my ($part) = /\.([^.]+)$/; index($text, substr $part, -24) >= 0 } $job, $dev, $expired), 0, 'no token is in the audit log');

expect_in_log(qr/GATE204/);
finish();
