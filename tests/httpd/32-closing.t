# Each way in which a port ends, on a connection without a byte and on ones at full speed in either direction, plain
# and over TLS: both sockets are closed soon after the moment, the audit log says why, and its bytes are exact.
# The times that were seen are printed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Audit;
use Gate::Port;
use Gate::Watched;
use File::Temp ();
use Time::HiRes qw(sleep time);

# Promised are 2 s; a busy machine gets more.
my $PATIENCE = 5;

my $target = target('127.0.0.1:0');
my $gitlab = gitlab();
my $dir    = File::Temp->newdir('gate-closing-XXXXXX', TMPDIR => 1);
my $tls    = Gate::Httpd::free_port();
system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout $dir/key.pem -out $dir/cert.pem 2>/dev/null") == 0 or die 'openssl';

sub port { return join "\n", "<GatePort $_[0]>", "GateTarget $target", 'AuthType Gate', 'Require gate-role deployer', 'GateMaxOpen 40', @_[ 1 .. $#_ ], '</GatePort>', '' }

my $config = issuer_section('ci', 'GateKind gitlab', 'GateRefresh 1s', 'GateRole deployer project_path=shop/orders', "GateJobAPI $gitlab/api/v4 every=1s misses=3")
    . "GateAuditLog \@DIR\@/run/audit.log\nGateMaxOpenTotal 60\nListen 127.0.0.1:$tls\n"
    . port('db:1') . port('short:1', 'GateLifetime 3s') . port('idle:1', 'GateIdle 2s') . port('busy:1', 'GateIdle 2s', 'GateLifetime 5s') . port('job:1', 'GateJob on')
    . "<VirtualHost 127.0.0.1:$tls>\nSSLEngine on\nSSLCertificateFile $dir/cert.pem\nSSLCertificateKeyFile $dir/key.pem\nProtocols http/1.1\n</VirtualHost>\n";

sub start {
    return httpd($config, modules => [ 'ssl', 'socache_shmcb' ],
        head => Gate::Httpd::mpm() eq 'prefork' ? "ServerLimit 32\nMaxRequestWorkers 32\nStartServers 12" : "ThreadLimit 32\nThreadsPerChild 32\nMaxRequestWorkers 64\nStartServers 1");
}
sub token { return mint(issuer => 'ci', shape => 'gitlab', @_) }

my @ALL = map { my $tls = $_; map { [ $tls, $_ ] } qw(nothing read write) } 0, 1;
# What the MPMs do differently is how they stop; the rest is told by event's.
my $whole = Gate::Httpd::mpm() eq 'event';
@ALL = ([ 0, 'nothing' ], [ 0, 'read' ]) if !$whole;
my @QUIET = ([ 0, 'nothing' ], [ 1, 'nothing' ], [ 0, 'stall' ]);
my @BUSY = grep { $_->[1] ne 'nothing' } @ALL;

# Opens one of each, lets them run, does what ends them, and looks at what came of it. `moment`: the time from which
# the seconds count, given one client.
sub each_of {
    my ($httpd, $cause, $kinds, %how) = @_;
    my $token = token(%{ $how{token} || {} });
    my @open = map {
        my ($over_tls, $does) = @$_;
        Gate::Watched->open(port => $over_tls ? $tls : $httpd->port, tls => $over_tls, name => $how{name} || 'db:1', token => $token, does => $does, headers => $how{headers} || [])
    } @$kinds;
    is(join(' ', map { $_->{status} // $_->{error} } @open), join(' ', (200) x @open), "$how{title}: open");
    $_->go for @open;
    sleep($how{after} // 0.7);
    $how{then}->() if $how{then};
    my $now = time;
    for my $one (@open) {
        my $what = "$how{title}, " . ($one->{tls} ? 'TLS' : 'plain') . ", $one->{does}";
        my $moment = $how{moment} ? $how{moment}->($one) : $now;
        my $blind = $one->{does} eq 'stall';
        my $end = $blind ? undef : $one->end;
        my $seen = target_saw($target, $one->{word}, 8) || { at => 0 };
        $end ||= { %{ $one->end }, %$seen };
        my ($line) = Gate::Audit::wait_for($httpd->dir . '/run/audit.log', 1, sub { ($_[0]{http}{request}{id} // '') eq $one->{id} && exists $_[0]{event}{reason} }, 8);
        is($line->{event}{reason}, $cause, "$what: the audit line says $cause") or next;
        my ($client, $target) = map { ($_->{at} // 0) - $moment } $end, $seen;
        note(sprintf '%s: the client saw its end after %.2f s, the target after %.2f s', $what, $client, $target);
        my $ok = grep { $_ > -1 && $_ < $PATIENCE + ($how{asks} || 0) } $client, $target;
        is($ok, 2, "$what: both ends see it in time") or diag("client $client s, target $target s");
        is($line->{source}{bytes}, $seen->{received}, "$what: what went in is counted");
        is($line->{destination}{bytes}, $end->{count}, "$what: what came out is counted") if !$blind;
    }
    return;
}

my $httpd = start();
each_of($httpd, 'expired', \@ALL, title => 'exp', token => { exp_in => 5 }, moment => sub { $_[0]{expires} });
if ($whole) {
    each_of($httpd, 'lifetime', [ @ALL, [ 0, 'slow' ], [ 0, 'stall' ], [ 1, 'stall' ] ], title => 'GateLifetime', name => 'short:1', moment => sub { $_[0]{opened} + 3 });
    each_of($httpd, 'idle', \@QUIET, title => 'GateIdle', name => 'idle:1', moment => sub { $_[0]{opened} + 2 });
    each_of($httpd, 'lifetime', \@BUSY, title => 'GateIdle does not end what is busy', name => 'busy:1', moment => sub { $_[0]{opened} + 5 });
    gitlab_job(id => 7001, project => 20, status => 'running', token => 'glcbt-7001');
    my %job = (name => 'job:1', token => { claims => { job_id => '7001' } }, headers => [ 'Gate-Job-Token' => 'glcbt-7001' ]);
    each_of($httpd, 'job_unknown', \@ALL, %job, title => 'GitLab can not say, 3 times in 3 s', asks => 3, then => sub { gitlab_mode('error500') });
    gitlab_mode('ok');
    each_of($httpd, 'job_ended', \@ALL, %job, title => 'the job ends, asked each second', asks => 1, then => sub { gitlab_job(id => 7001, project => 20, status => 'success', token => 'glcbt-7001') });
    each_of($httpd, 'key_revoked', \@ALL, title => 'the key is withdrawn, fetched each second', asks => 1, then => sub { control('rotate', issuer => 'ci') });
}
each_of($httpd, 'stopping', \@ALL, title => 'stop', then => sub { $httpd->signal('TERM') });

$httpd->stop;
$httpd = start();
each_of($httpd, 'stopping', \@ALL, title => 'graceful-stop', then => sub { $httpd->signal('WINCH') });
$httpd->stop;
for my $signal (qw(TERM WINCH HUP)) {
    $httpd = start();
    each_of($httpd, 'stopping', \@ALL, title => "a child that outlived a graceful restart, then SIG$signal", then => sub {
        $httpd->restart('USR1');
        sleep 1;
        $httpd->signal($signal);
    });
    $httpd->stop;
}

expect_in_log(qr/GATE311/, qr/AH0004[567]|AH0129[0-9]|AH01909|AH01906|AH02292|AH01882|AH01873/);
finish();
