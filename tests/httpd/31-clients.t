# Ports through the clients that people have: gatectl, curl, ncat, ssh's ProxyCommand, psql; plain and over TLS.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Gatectl;
use Gate::Port;
use Gate::Postgres;
use File::Temp ();
use IO::Socket::INET;

my $target  = target('127.0.0.1:0');
my ($web)   = upstream_base() =~ m{//(.*)};
my $dir     = File::Temp->newdir('gate-clients-XXXXXX', TMPDIR => 1);
my $tls     = Gate::Httpd::free_port();
system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout $dir/key.pem -out $dir/cert.pem 2>/dev/null") == 0 or die 'openssl';

# PostgreSQL and sshd of the test's own, where the machine has them.
my $sql = Gate::Postgres::start($dir);
my $ssh = sshd();
my $sections = join '', map { my ($name, $to) = @$_; $to ? <<"END" : '' } [ 'echo:1', $target ], [ 'web:80', $web ], [ 'db:5432', $sql ], [ 'host:22', $ssh ];
<GatePort $name>
    GateTarget $to
    AuthType Gate
    Require gate-role deployer
    GateMaxOpen 30
</GatePort>
END
my $httpd = httpd(<<"END", modules => ['ssl', 'socache_shmcb']);
@{[ issuer_section('ci', 'GateKind gitlab', 'GateRole deployer project_path=shop/orders') ]}
Listen 127.0.0.1:$tls
$sections
<VirtualHost *:$tls>
    SSLEngine on
    SSLCertificateFile $dir/cert.pem
    SSLCertificateKeyFile $dir/key.pem
    Protocols http/1.1
</VirtualHost>
END
my $plain = $httpd->port;
$ENV{GATE_TOKEN} = mint(issuer => 'ci', shape => 'gitlab');
$ENV{BAD_TOKEN}  = mint(issuer => 'ci', shape => 'gitlab', claims => { project_path => 'shop/other' });

sub run { my $out = `$_[0] 2>&1`; return ($? >> 8, $out) }

for my $way ([ plain => "--gate http://127.0.0.1:$plain" ], [ TLS => "--gate https://localhost:$tls --ca-file $dir/cert.pem" ]) {
    my ($name, $gate) = @$way;
    my $local = Gate::Httpd::free_port();
    my $port  = "$gatectl port $gate --token-env GATE_TOKEN --listen 127.0.0.1:$local";
    my ($status, $out) = run("$port --to web:80 -- curl -sS http://127.0.0.1:$local/through");
    is($status, 0, "gatectl, $name: curl through the port");
    like($out, qr{"target":"/through"}, "gatectl, $name: and the service answers");
    ($status) = run("$port --to web:80 -- sh -c 'exit 7'");
    is($status, 7, "gatectl, $name: the command's status is gatectl's");
    ($status) = run("$port --to web:80 -- sh -c 'kill -TERM \$\$'");
    is($status, 143, "gatectl, $name: so is its signal");
    ($status, $out) = run("printf 'late\\nabc' | $gatectl port $gate --token-env GATE_TOKEN --to echo:1 --stdio");
    is($out, "8 bytes\n", "gatectl, $name: --stdio, and half-close");
    ($status, $out) = run("head -c 3000000 /dev/zero | (echo sink; cat) | $gatectl port $gate --token-env GATE_TOKEN --to echo:1 --stdio");
    is($out, "3000005 bytes\n", "gatectl, $name: a few megabytes");
    ($status, $out) = run("$gatectl port $gate --token-env BAD_TOKEN --to echo:1 --stdio </dev/null");
    is($status, 1, "gatectl, $name: a refusal");
    like($out, qr/^gatectl: the gate refused echo:1: 403 role: .* \(request [\w@\-]+\)$/, 'is explained in one line');
    expect_in_log($out =~ /\(request ([\w@\-]+)\)/ ? $1 : 'nothing');
  SKIP: {
        skip 'no PostgreSQL here', 1 unless $sql;
        ($status, $out) = run("$port --to db:5432 -- psql -h 127.0.0.1 -p $local -U gate -d postgres -Atc 'select sum(i) from generate_series(1,100000) i'");
        is($out, "5000050000\n", "psql, $name");
    }
  SKIP: {
        skip 'no sshd here', 1 unless $ssh;
        my $proxy = "$gatectl port $gate --token-env GATE_TOKEN --to host:22 --stdio";
        ($status, $out) = run("ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -i $dir/id -o ProxyCommand='$proxy' host 'echo through; cat' </dev/null");
        is($out, "through\n", "ssh, $name");
    }
}

my ($status, $out) = run("printf 'late\\nabc' | $gatectl port --gate HTTPS://LOCALHOST:$tls --ca-file $dir/cert.pem --token-env GATE_TOKEN --to echo:1 --stdio");
is($out, "8 bytes\n", 'gatectl: a scheme in capitals is TLS too');
($status, $out) = run("curl -sS --noproxy '' -p --proxy http://127.0.0.1:$plain --proxy-header \"Proxy-Authorization: Bearer \$GATE_TOKEN\" http://web/bearer");
like($out, qr{"target":"/bearer"}, 'curl --proxy with Bearer');
($status, $out) = run("curl -sS --noproxy '' -p --proxy-cacert $dir/cert.pem --proxy https://job:\$GATE_TOKEN\@localhost:$tls http://web/basic");
like($out, qr{"target":"/basic"}, 'curl --proxy over TLS with Basic');
SKIP: {
    skip 'no ncat here', 1 unless `which ncat`;
    ($status, $out) = run("printf 'late\\nx' | timeout 20 ncat --proxy 127.0.0.1:$plain --proxy-auth job:\$GATE_TOKEN --proxy-type http echo 1");
    is($out, "6 bytes\n", 'ncat, which wants to be asked first');
}
# ncat is refused once before it shows its token
expect_in_log(qr/GATE401: refused: token_missing/, qr/AH01906|AH01909|AH02292|AH01882|AH01873|AH01630/);
finish();

sub sshd {
    return unless -x '/usr/sbin/sshd' && $> == 0;
    my $port = Gate::Httpd::free_port();
    system("ssh-keygen -q -t ed25519 -N '' -f $dir/id && ssh-keygen -q -t ed25519 -N '' -f $dir/host && cp $dir/id.pub $dir/allowed && chmod 600 $dir/allowed && mkdir -p /run/sshd") == 0 or return;
    Gate::Process->start({ out => "$dir/sshd.log" }, '/usr/sbin/sshd', '-D', '-e', '-f', '/dev/null', '-p', $port,
        map { ('-o', $_) } 'ListenAddress=127.0.0.1', "HostKey=$dir/host", "AuthorizedKeysFile=$dir/allowed", 'StrictModes=no', 'PidFile=none', 'PermitRootLogin=yes');
    for (1 .. 50) { return "127.0.0.1:$port" if IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port"); select undef, undef, undef, 0.1 }
    return;
}
