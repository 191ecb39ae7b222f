# CI ports: who gets one, how many, what passes through. How they end is 32-closing.t's.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Port;
use File::Temp ();
use Time::HiRes qw(sleep time);

my $target = target('127.0.0.1:0');
my $six    = eval { target('[::1]:0') };
my $gitlab = gitlab();
# A scheme has no case, and nothing that goes to this machine goes by a proxy.
local $ENV{http_proxy} = 'http://127.0.0.1:1';
(my $capitals = $gitlab) =~ s/^http:/HTTP:/;
my $closed_port = Gate::Httpd::free_port();
my $issuer = issuer_section('ci', 'GateKind gitlab', 'GateRefresh 1s',
    'GateRole deployer project_path=shop/orders ref_protected=true',
    "GateJobAPI $capitals/api/v4 every=1s misses=3");

my $dir = File::Temp->newdir('gate-ports-XXXXXX', TMPDIR => 1);
chmod 0755, $dir;
sub pat { Gate::Httpd::spew("$dir/pat", "$_[0]\n"); return }
pat('glpat-gate');

sub port {
    my ($name, @lines) = @_;
    my $to = "GateTarget $target";
    $to = '' if grep { /GateTarget/ } @lines;
    return join "\n", "<GatePort $name>", 'AuthType Gate', 'AuthName "Ports"', $to, 'Require gate-role deployer', @lines, '</GatePort>', '';
}

# What goes to this machine goes past every proxy, however its scheme is written: there is none at this address.
local $ENV{HTTP_PROXY} = "http://127.0.0.1:$closed_port";
my $httpd = httpd(
    $issuer . issuer_section('other') . issuer_section('pat', 'GateKind gitlab', 'GateRole deployer project_path=shop/orders', "GateJobAPI @{[ $gitlab =~ s/^http/HTTP/r ]}/api/v4 token-file=$dir/pat every=1s misses=2")
        . "GateMaxOpenTotal 12\n"
        . port('db:1', 'GateMaxOpen 20')
        . port('six:1', 'GateTarget ' . ($six || '[::1]:1'))
        . port('dead:1', "GateTarget 127.0.0.1:$closed_port")
        . port('job:1', 'GateJob on', 'GateMaxOpen 20') . port('pat:1', 'GateJob on', 'GateAccept pat') . port('few:1', 'GateMaxOpen 2')
        . port('open:1', 'Require all granted') . port('ci-only:1', 'GateAccept ci')
        . "<VirtualHost 127.0.0.1:\@PORT\@>\nServerName main.test\n</VirtualHost>\n"
        . "<Location />\nAuthType Gate\nRequire all denied\n</Location>\n"
        . join('', map { my ($path, $lifetime) = @$_; "<Location $path>\nAuthType Gate\nRequire valid-user\n$lifetime\nProxyPass " . upstream_base() . "/-/ upgrade=websocket\n</Location>\n" }
            [ '/ws/', '' ], [ '/ws-short/', 'GateLifetime 1s' ], [ '/ws-off/', 'GateLifetime off' ]),
    head => Gate::Httpd::mpm() eq 'prefork' ? "ServerLimit 32\nMaxRequestWorkers 32\nStartServers 16" : '',
);
my $port = $httpd->port;
sub token { return mint(issuer => 'ci', shape => 'gitlab', @_) }
sub job   { my ($id, %with) = @_; gitlab_job(id => $id + 0, project => 20, status => 'running', token => "glcbt-$id", %with); return }
sub claims { my ($id, %more) = @_; return (claims => { job_id => "$id", %more }) }

# --- who gets one
my $good = token();
my ($answer, $t) = tunnel($port, 'db:1', $good);
is($answer->status, 200, 'a job with the role gets its port');
like($answer->header('Gate-Expires') // '', qr/^\d{10}$/, 'and is told when it ends');
$t->say("echo\nhello\n");
is($t->read(6), "hello\n", 'bytes pass both ways');
$t->close;
my $line = closing($httpd, $answer);
like($line, qr/GATE702: port db:1 closed: client source\.bytes=11 destination\.bytes=6 duration=\d+ms job=302/, 'its close says why and how much');

($answer, $t) = tunnel($port, 'DB:1', $good);
is($answer->status, 200, 'the name is compared without case');
$t->close;
($answer, $t) = tunnel($port, 'db:1', undef, headers => [ 'Proxy-Authorization' => basic('job', $good) ]);
is($answer->status, 200, 'the password of Basic is a token too');
$t->close;

for my $case (
    [ 'no token',          'db:1',   undef,                                                        407, 'token_missing' ],
    [ 'expired',           'db:1',   token(exp_in => -60, iat_in => -100, nbf_in => -100),         407, 'expired' ],
    [ 'expired within the skew', 'db:1', token(exp_in => -5, iat_in => -100, nbf_in => -100),      407, 'expired' ],
    [ 'wrong project',     'db:1',   token(claims => { project_path => 'shop/other', job_project_path => 'shop/other' }), 403, 'role' ],
    [ 'unprotected ref',   'db:1',   token(claims => { ref_protected => 'false' }),                403, 'role' ],
    [ "a fork's merge request", 'db:1', token(claims => { job_project_path => 'mallory/orders' }), 403, 'role' ],
    [ 'another issuer',    'ci-only:1', mint(issuer => 'other'),                                   407, 'issuer_not_accepted' ],
    [ 'unknown port',      'db:2',   $good,                                                        403, 'port_unknown' ],
    [ 'unknown port, nobody', 'db:2', undef,                                                       407, 'token_missing' ],
    [ 'open to all, nobody', 'open:1', undef,                                                      407, 'token_missing' ],
    [ 'nobody listens',    'dead:1', $good,                                                        502, 'port_unreachable' ],
) {
    my ($name, $to, $token, $status, $code) = @$case;
    ($answer, $t) = tunnel($port, $to, $token);
    refused($answer, $status, $code, "$name is refused");
    if ($status == 407 || $status == 403) {
        my @challenges = $answer->header('Proxy-Authenticate');
        like(join(', ', @challenges), qr/^Bearer realm=.*Basic realm=/, "$name: the challenge is a proxy's");
    }
}
refused(scalar((tunnel($port, 'db:1', undef, headers => [ 'Proxy-Authorization' => "Bearer $good", 'Proxy-Authorization' => "Bearer $good" ]))[0]),
    400, 'token_ambiguous', 'two credentials are refused');
is((tunnel($port, 'db:1', undef, headers => [ Authorization => "Bearer $good" ]))[0]->status, 407, 'Authorization is no source here');

# --- bytes before the 200
my $served = connections($target);
$answer = $httpd->raw("CONNECT db:1 HTTP/1.1\r\nHost: db:1\r\nProxy-Authorization: Bearer $good\r\n\r\nsink\nearly", method => 'CONNECT');
refused($answer, 400, 'early_bytes', 'bytes before the 200 are refused');
$answer = $httpd->raw("CONNECT db:1 HTTP/1.1\r\nHost: db:1\r\nContent-Length: 5\r\nProxy-Authorization: Bearer $good\r\n\r\n", method => 'CONNECT');
refused($answer, 400, 'early_bytes', 'so is a body');
is(connections($target), $served, 'and nothing reached the target');

# The first look is before the job is asked about and the target called; the second just before the 200.
job(930);
gitlab_mode('slow');
my $late = Gate::Client::connect_to($port);
syswrite $late, "CONNECT job:1 HTTP/1.1\r\nHost: job:1\r\nProxy-Authorization: Bearer @{[ token(claims(930)) ]}\r\nGate-Job-Token: glcbt-930\r\n\r\n";
sleep 0.4;
$answer = $httpd->raw("sink\nearly", method => 'CONNECT', socket => $late);
refused($answer, 400, 'early_bytes', 'bytes that come while the port is being opened are refused');
ok($httpd->wait_for_log(qr/GATE702: port job:1 closed: client source\.bytes=0 destination\.bytes=0 .*job=930/), 'the target was called, and got none of them');
CORE::close $late;
gitlab_mode('ok');

# --- half-close
($answer, $t) = tunnel($port, 'db:1', $good);
$t->say("late\n" . 'x' x 100_000);
$t->shut;
is($t->rest, "100005 bytes\n", 'the target answers after the client has closed its side');
like(closing($httpd, $answer), qr/closed: client source\.bytes=100005 destination\.bytes=13/, 'and it is all counted');
($answer, $t) = tunnel($port, 'db:1', $good);
$t->say("half\n");
is($t->rest, "half\n", 'the client sees that the target has closed its side');
$t->say('still here');
$t->close;
like(closing($httpd, $answer), qr/closed: target source\.bytes=15 destination\.bytes=5/, 'and can go on sending');

SKIP: {
    skip 'no IPv6 here', 2 unless $six;
    ($answer, $t) = tunnel($port, 'six:1', $good);
    is($answer->status, 200, 'a target may have an IPv6 address');
    $t->say("echo\nsix\n");
    is($t->read(4), "six\n", 'and bytes pass');
    $t->close;
}

# --- jobs
($answer) = tunnel($port, 'job:1', token(claims(901)));
refused($answer, 403, 'job_mismatch', "without the job's token");
job(903);
job(904);
($answer) = tunnel($port, 'job:1', token(claims(903)), headers => [ 'Gate-Job-Token' => 'glcbt-904' ]);
refused($answer, 403, 'job_mismatch', "another job's token");
($answer) = tunnel($port, 'job:1', token(claims(903)), headers => [ 'Gate-Job-Token' => 'glcbt-903', 'Gate-Job-Token' => 'glcbt-903' ]);
refused($answer, 403, 'job_mismatch', 'a token that came twice');
($answer) = tunnel($port, 'job:1', token(claims(905)), headers => [ 'Gate-Job-Token' => 'glcbt-905' ]);
refused($answer, 403, 'job_ended', 'a job that has ended');
gitlab_mode('status:503');
($answer) = tunnel($port, 'job:1', token(claims(903)), headers => [ 'Gate-Job-Token' => 'glcbt-903' ]);
refused($answer, 503, 'job_unknown', 'GitLab can not say');
gitlab_mode('ok');

# --- jobs, asked about with the gate's own token
my %mine = (issuer => 'pat', shape => 'gitlab');
job(910);
job(911, status => 'pending');
for my $case (
    [ 'a job that runs',                        200, undef,         910 ],
    [ 'its fork, by the project that it runs in', 200, undef,       910, project_id => '99' ],
    [ 'a job that does not run',                403, 'job_ended',   911 ],
    [ 'a job that GitLab does not know',        503, 'job_unknown', 912 ],
    [ "another project's job",                  503, 'job_unknown', 910, project_id => '21', job_project_id => '21' ],
    [ 'no job',                                 403, 'job_mismatch', 'x' ],
) {
    my ($name, $status, $code, $id, %more) = @$case;
    ($answer, $t) = tunnel($port, 'pat:1', mint(%mine, claims($id, %more)));
    $code ? refused($answer, $status, $code, "token-file: $name") : is($answer->status, $status, "token-file: $name");
    $t->close;
}
pat('glpat-revoked');
($answer) = tunnel($port, 'pat:1', mint(%mine, claims(910)));
refused($answer, 503, 'job_unknown', "a 401 to the gate's own token does not say that the job has ended");
pat('glpat-gate');
($answer, $t) = tunnel($port, 'pat:1', mint(%mine, claims(910)));
is($answer->status, 200, 'the file is read again');
job(910, status => 'canceling');
sleep 2.5;
$t->say("echo\n1");
is($t->read(1), '1', 'a job that is being cancelled is alive');
pat('glpat-revoked');
is($t->rest, '', 'its port closes');
like(closing($httpd, $answer, 10), qr/closed: job_unknown /, 'when GitLab no longer says anything');

# --- how many
my @open;
for (1, 2) { my ($a, $o) = tunnel($port, 'few:1', token(claims(77))); is($a->status, 200, "port $_ of 2"); push @open, $o; }
($answer) = tunnel($port, 'few:1', token(claims(77)));
refused($answer, 429, 'port_limit', 'one more is too many for the job');
($answer, $t) = tunnel($port, 'few:1', token(claims(78)));
is($answer->status, 200, 'another job has its own');
push @open, $t;
while (@open < 12) { my ($a, $o) = tunnel($port, 'db:1', token(claims(100 + @open))); last if $a->status != 200; push @open, $o; }
is(scalar @open, 12, 'as many as the server may have');
($answer) = tunnel($port, 'db:1', token(claims(79)));
refused($answer, 503, 'port_limit', 'one more is too many for the server');
like($answer->header('Retry-After') // '', qr/^\d+$/, 'with Retry-After');
is($httpd->get('/x')->status, 403, 'ordinary requests are served');
$_->close for @open;
my $until = time + 10;
do { sleep 0.1; ($answer, $t) = tunnel($port, 'few:1', token(claims(77))) } while $answer->status != 200 && time < $until;
is($answer->status, 200, 'what was closed is free again');
$t->close;

# --- a WebSocket in an ordinary place
my $off = websocket($port, '/ws-off/cable', token(exp_in => 3));
is($off->{status}, 101, 'one with GateLifetime off opens');
my $ws = websocket($port, '/ws/cable', token(exp_in => 3));
is($ws->{status}, 101, 'a WebSocket opens') or diag($ws->{head});
$ws->{tunnel}->say('ping');
is($ws->{tunnel}->read(4), 'ping', 'and echoes');
my $since = time;
is($ws->{tunnel}->rest, '', 'it is cut when the token ends');
cmp_ok(time - $since, '<', 8, 'in time');
ok($httpd->wait_for_log(qr/GATE703: a WebSocket was cut: expired/), 'and the log says so');
$off->{tunnel}->say('ping');
is($off->{tunnel}->read(4), 'ping', 'but not where GateLifetime is off');
$off->{tunnel}->close;
$ws = websocket($port, '/ws-short/cable', token());
is($ws->{status}, 101, 'one with a GateLifetime opens');
is($ws->{tunnel}->rest, '', 'it is cut after that time');
ok($httpd->wait_for_log(qr/GATE703: a WebSocket was cut: lifetime/), 'and the log says so');
$ws = websocket($port, '/ws-short/stream/30000000', token());
is($ws->{status}, 200, 'one who asks for a WebSocket and gets a download');
sleep 2;
is(length $ws->{tunnel}->read(30_000_000), 30_000_000, 'gets it whole: there is nothing to be cut');
$ws->{tunnel}->close;

# --- a key that is withdrawn
$ws = websocket($port, '/ws/cable', token());
is($ws->{status}, 101, 'a WebSocket while the key is there');
($answer, $t) = tunnel($port, 'db:1', token());
$t->say("flood\n");
control('rotate', issuer => 'ci');
my $got = $t->count_rest;
like(closing($httpd, $answer, 20), qr/closed: key_revoked source\.bytes=6 destination\.bytes=$got /, 'a withdrawn key ends its ports');
is($ws->{tunnel}->rest, '', 'and its WebSockets');
ok($httpd->wait_for_log(qr/GATE703: a WebSocket was cut: key_revoked/), 'and the log says so');

# --- a graceful restart leaves it open, a stop does not
($answer, $t) = tunnel($port, 'db:1', token());
$t->say("echo\n1");
is($t->read(1), '1', 'a port over a graceful restart');
$httpd->restart('USR1');
sleep 1;
$t->say('2');
is($t->read(1), '2', 'goes on');
my ($after, $u) = tunnel($port, 'db:1', token());
is($after->status, 200, 'and new ones are opened');
$ws = websocket($port, '/ws/cable', token());
is($ws->{status}, 101, 'as are WebSockets');
$httpd->signal('TERM');
is($u->rest, '', 'a stop closes it');
like(closing($httpd, $after), qr/closed: stopping /, 'with its reason');
like(closing($httpd, $answer, 12), qr/closed: stopping /, 'the older one too');
is($ws->{tunnel}->rest, '', 'the WebSocket as well');
$httpd->stop;
# httpd by itself closes such a socket without whoever polls it hearing of that, waits, and kills the child after 9 s
if (Gate::Httpd::mpm() ne 'prefork') {
    like($httpd->error_log, qr/GATE703: a WebSocket was cut: stopping/, 'and the log says so');
    unlike($httpd->error_log, qr/AH00046/, 'so that no child need be killed');
}

expect_in_log(qr{GATE236: Require all granted in open:1}, qr/GATE311/, qr/AH0129[0-9]|AH01146|AH00045|AH00046|AH00052|AH00051|AH01102|AH10212|AH\d+:.*proxy: .*tunnel/i);
finish();
