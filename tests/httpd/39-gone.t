# Peers that are gone or do not move: what they held is free soon, and nobody else pays for it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Port;
use File::Temp ();
use IO::Socket::SSL ();
use Socket qw(SOL_SOCKET SO_LINGER);
use Time::HiRes qw(sleep time);

my $target = target('127.0.0.1:0');
my $gitlab = gitlab();
my $dir    = File::Temp->newdir('gate-gone-XXXXXX', TMPDIR => 1);
chmod 0755, $dir;
my $tls = Gate::Httpd::free_port();
system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout $dir/key.pem -out $dir/cert.pem 2>/dev/null") == 0 or die 'openssl';

sub port { return join "\n", "<GatePort $_[0]>", "GateTarget $target", 'AuthType Gate', 'Require gate-role deployer', @_[ 1 .. $#_ ], '</GatePort>', '' }
sub ws { my ($path, $to) = @_; return "<Location $path>\nAuthType Gate\nRequire valid-user\nProxyPass $to\n</Location>\n" }
my @ci = ('GateKind gitlab', 'GateRole deployer project_path=shop/orders');
my ($there) = upstream_base() =~ m{^http://(.*)};

my $httpd = httpd(
    "GateMaxOpenTotal 24\nLogFormat \"%m %>s %{Gate-Job-Token}i\" seen\nCustomLog \@DIR\@/seen.log seen\n"
        . issuer_section('ci', @ci, "GateJobAPI $gitlab/api/v4")
        . issuer_section('twin', 'GateIssuerURL ' . issuer_base() . '/ci', 'GateAudience twin', @ci)
        . "GateUpstreamToken file:$dir/none\n"
        . port('db:1') . port('two:1', 'GateMaxOpen 2') . port('job:1', 'GateJob on', 'GateLifetime 3s')
        . port('page:1', 'ErrorDocument 407 http://127.0.0.1:1/', 'ErrorDocument 403 "own words"')
        . ws('/ws/', "http://$there/-/ upgrade=websocket\nGateUpstreamToken off") . ws('/wstunnel/', "ws://$there/-/\nGateUpstreamToken off")
        . "Listen 127.0.0.1:$tls\n<VirtualHost 127.0.0.1:$tls>\nSSLEngine on\nSSLCertificateFile $dir/cert.pem\nSSLCertificateKeyFile $dir/key.pem\nProtocols http/1.1\n</VirtualHost>\n",
    modules => [ 'ssl', 'socache_shmcb', 'proxy_wstunnel' ],
    head => "FlushMaxThreshold 1024\n" . (Gate::Httpd::mpm() eq 'prefork' ? "ServerLimit 32\nMaxRequestWorkers 32\nStartServers 12" : "ThreadLimit 64\nThreadsPerChild 64\nMaxRequestWorkers 64\nServerLimit 1\nStartServers 1"),
);
my $port = $httpd->port;
sub token { return mint(issuer => 'ci', shape => 'gitlab', @_) }
sub job   { return token(claims => { job_id => "$_[0]" }, @_[ 1 .. $#_ ]) }

# Ends as a process that is killed, or a router that has had enough.
sub reset_by { my ($tunnel) = @_; setsockopt $tunnel->{socket}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0; $tunnel->close; return }

# --- a WebSocket is closed at both ends, also where the upstream does not care that the client is gone
sub held { # how many sockets to the upstream a process still has
    my ($number) = $there =~ /:(\d+)$/;
    my $remote = sprintf '0100007F:%04X', $number;
    return scalar grep { my @f = split; @f > 9 && $f[2] eq $remote && $f[9] != 0 } split /\n/, Gate::Httpd::slurp('/proc/net/tcp');
}
for my $path ('/ws/cable?stays', '/wstunnel/cable?stays') {
    my $ws = websocket($port, $path, token(exp_in => 3));
    is($ws->{status}, 101, "$path: opens") or diag($ws->{head});
    $ws->{tunnel}->say('ping');
    is($ws->{tunnel}->read(4), 'ping', "$path: echoes");
    cmp_ok(held(), '>', 0, "$path: the upstream has its connection");
    is($ws->{tunnel}->rest, '', "$path: is cut");
    my $until = time + 5;
    sleep 0.1 while held() && time < $until;
    is(held(), 0, "$path: and httpd has let go of the upstream");
}

# --- a reset is no half-close
for my $case (
    [ 'a client that was waiting', '' ],
    [ 'a client that has said more than the service reads', 'x' x 8_000_000 ],
    [ 'a client that has closed its sending side', '', 'shut' ],
) {
    my ($name, $text, $shut) = @$case;
    my ($answer, $t) = tunnel($port, 'db:1', job(1));
    $t->say("hang\n");
    $t->{socket}->blocking(0);
    $t->say($text);
    $t->shut if $shut;
    sleep 0.5;
    reset_by($t);
    like(closing($httpd, $answer), qr/closed: client /, "$name and is reset is gone");
}
{
    my $socket = IO::Socket::SSL->new(PeerAddr => '127.0.0.1', PeerPort => $tls, SSL_verify_mode => 0) or die 'TLS';
    my $answer = Gate::Client::raw($tls, "CONNECT db:1 HTTP/1.1\r\nHost: db:1\r\nProxy-Authorization: Bearer @{[ job(1) ]}\r\n\r\n", method => 'CONNECT', socket => $socket);
    is($answer->status, 200, 'TLS: open');
    print {$socket} "hang\n";
    sleep 0.3;
    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    $socket->close(SSL_no_shutdown => 1);
    like(closing($httpd, $answer), qr/closed: client /, 'one over TLS is gone too');
}
{ # over TLS an end that is none of the service's own can be told from one that is
    my $socket = IO::Socket::SSL->new(PeerAddr => '127.0.0.1', PeerPort => $tls, SSL_verify_mode => 0) or die 'TLS';
    my $answer = Gate::Client::raw($tls, "CONNECT db:1 HTTP/1.1\r\nHost: db:1\r\nProxy-Authorization: Bearer @{[ job(1) ]}\r\n\r\n", method => 'CONNECT', socket => $socket);
    print {$socket} "half\n";
    my $said = '';
    while (length $said < 5 && $socket->sysread(my $bytes, 5)) { $said .= $bytes }
    is($said, "half\n", 'TLS: a service that says its word and closes its side');
    is($socket->sysread(my $more, 1), 0, 'that is the end');
    ok(Net::SSLeay::get_shutdown($socket->_get_ssl_object) & 2, 'with close_notify');
    $socket->close;
    like(closing($httpd, $answer), qr/closed: target /, 'it was the service');
}
{
    my ($answer, $t) = tunnel($port, 'db:1', job(1));
    $t->say("reset\n");
    sleep 0.3;
    $t->say('not read');
    is($t->rest, '', 'a service that resets');
    like(closing($httpd, $answer), qr/closed: target /, 'is gone, though the client has not closed');
    $t->close;
}

# --- a client that does not read is not dropped for a small FlushMaxThreshold
{
    my @paused = map { [ tunnel($port, 'db:1', job(1)) ] } 1 .. 4;
    $_->[1]->say("flood\n") for @paused;
    sleep 3;
    is(scalar(grep { $httpd->error_log =~ /GATE702:.*request=\Q@{[ $_->[0]->header('X-Gate-Request') ]}\E/ } @paused), 0, 'clients that pause for 3 s are not dropped');
    my ($got, $until) = (0, time + 20);
    while ($got < 10_000_000 && time < $until) { my $bytes = $paused[0][1]->chunk($until); last if !length($bytes // ''); $got += length $bytes }
    cmp_ok($got, '>=', 10_000_000, 'and go on');
    for (@paused) { reset_by($_->[1]); closing($httpd, $_->[0]) }
}

# --- one job is one job, whichever <GateIssuer> its token was checked by
{
    my ($first, $a) = tunnel($port, 'two:1', job(2));
    my ($second, $b) = tunnel($port, 'two:1', job(2));
    is($_->status, 200, 'one of two') for $first, $second;
    my ($third) = tunnel($port, 'two:1', token(claims => { job_id => '2', aud => 'twin' }));
    refused($third, 429, 'port_limit', "a token for another section of the same issuer's");
    $_->close for $a, $b;
}

# --- the opening took its time: the port's starts with the 200
{
    gitlab_job(id => 3, project => 20, status => 'running', token => 'glcbt-3');
    gitlab_mode('slow:2500');
    my $asked = time;
    my ($answer, $t) = tunnel($port, 'job:1', job(3), headers => [ 'Gate-Job-Token' => 'glcbt-3' ]);
    is($answer->status, 200, 'GitLab took 2.5 s');
    cmp_ok($answer->header('Gate-Expires'), '>=', int($asked + 2.5) + 3, 'Gate-Expires counts from the opening');
    $t->close;
    ($answer) = tunnel($port, 'job:1', job(3, exp_in => 2), headers => [ 'Gate-Job-Token' => 'glcbt-3' ]);
    refused($answer, 407, 'expired', 'a token that has ended meanwhile opens nothing');
    gitlab_mode('ok');
    refused(scalar((tunnel($port, 'job:1', undef, headers => [ 'Gate-Job-Token' => 'glcbt-3' ]))[0]), 407, 'token_missing', 'refused');
    ok($httpd->wait_for_log(qr/GATE702: port job:1 closed/), 'closed');
    sleep 0.3;
    my $seen = Gate::Httpd::slurp($httpd->dir . '/seen.log');
    unlike($seen, qr/glcbt/, "no access log holds the job's token");
    like($seen, qr/^CONNECT 407 -$/m, 'and it was asked to');
}

# --- a refusal is not sent elsewhere
{
    my ($answer) = tunnel($port, 'page:1', undef);
    refused($answer, 407, 'token_missing', 'ErrorDocument 407 with a URL');
    ok($answer->header('Proxy-Authenticate'), 'the challenge is there');
    is($answer->header('Location'), undef, 'and no other place');
    ($answer) = tunnel($port, 'page:1', token(claims => { project_path => 'x/y', job_project_path => 'x/y' }));
    refused($answer, 403, 'role', 'ErrorDocument 403 with words');
    is($answer->body, 'own words', 'they are said');
}

expect_in_log('GATE801', 'GATE205', qr/GATE40[12]/, qr/AH018[78]\d|AH019\d\d|AH02042|AH0308|AH10212|AH0110\d/);
finish();
