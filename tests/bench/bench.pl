#!/usr/bin/env perl
# The bench behind tests/bench/run: starts the servers, sends the load, counts CPU time by /proc. The load itself
# is load.rs. Judges nothing: medians and ratios.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../httpd/lib";
use File::Path qw(make_path);
use File::Temp ();
use Getopt::Long;
use IO::Socket::INET;
use JSON ();
use Time::HiRes qw(sleep time);
use Gate::Client  ();
use Gate::Httpd   ();
use Gate::Process ();

my ($rounds, $requests, $memory, $pairs, $count, $out) = (5, 3000, 100_000, 60, 1, "$FindBin::RealBin/../../docs/bench");
GetOptions('rounds=i' => \$rounds, 'requests=i' => \$requests, 'memory=i' => \$memory, 'pairs=i' => \$pairs, 'instructions!' => \$count, 'out=s' => \$out) or exit 2;

# headers9: mod_headers sets nine; no_audit: the gate without a GateAuditLog; gate_two: nor more headers than the two
# that mod_headers sets. These, and mod_headers, are loaded hot alone.
my @PRODUCTS = qw(bare mod_headers headers9 gate no_audit gate_two mod_auth_openidc mod_oauth2);
my $HOT_ALONE = qr/^bare|headers|no_audit|gate_two/;
my @CASES    = qw(hot warm cold role bad kid);
my $WARM     = 1000;
my $dir      = File::Temp->newdir('gate-bench-XXXXXX', TMPDIR => 1);
chmod 0755, $dir;
make_path("$dir/run");
chown +(getpwnam 'www-data')[2, 3], "$dir", "$dir/run" if $> == 0;

# The gate on one processor, what it serves on the other.
my @gate_cpu = cpus() > 1 ? qw(taskset -c 0) : ();
my @load_cpu = cpus() > 1 ? qw(taskset -c 1) : ();
sub cpus { my $n = `nproc`; return $n + 0 }

my $issuer   = Gate::Process->start_listening(@load_cpu, $ENV{GATE_TESTKIT}, qw(issuer --listen 127.0.0.1:0));
my $upstream = Gate::Process->start_listening(@load_cpu, $ENV{GATE_LOAD}, 'upstream');
my $base     = 'http://' . $issuer->address;

# mod_auth_openidc takes keys by https alone: a httpd of its own in front of the issuer.
my $tls_port = Gate::Httpd::free_port();
system("openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout $dir/tls.key -out $dir/tls.crt 2>$dir/openssl.out") == 0
    or die Gate::Httpd::slurp("$dir/openssl.out");
my $tls = Gate::Process->start({ out => "$dir/tls.out" }, @load_cpu, $ENV{GATE_HTTPD}, '-DFOREGROUND', '-f', Gate::Httpd::spew("$dir/tls.conf", <<"CONF"));
ServerRoot $dir
DefaultRuntimeDir $dir/run
PidFile $dir/run/tls.pid
ServerName localhost
ErrorLog $dir/tls.log
@{[ join "\n", map { "LoadModule ${_}_module $ENV{GATE_HTTPD_MODULES}/mod_$_.so" } qw(mpm_event authz_core socache_shmcb ssl proxy proxy_http) ]}
@{[ $> == 0 ? "User www-data\nGroup www-data" : '' ]}
Mutex posixsem
Listen 127.0.0.1:$tls_port
SSLEngine On
SSLCertificateFile $dir/tls.crt
SSLCertificateKeyFile $dir/tls.key
ProxyPass / $base/
CONF

# --- tokens ---------------------------------------------------------------------------------------

my $made = 0;

# A file of COUNT tokens, each with a jti of its own.
sub tokens {
    my ($count, $alg, %more) = @_;
    my $file = "$dir/tokens." . ++$made;
    my $spec = { base => $base, issuer => 'ci', shape => 'gitlab', alg => $alg, exp_in => 86_400, %more };
    Gate::Httpd::spew("$file.json", JSON::encode_json($spec));
    system("$ENV{GATE_LOAD} mint $count < $file.json > $file") == 0 or die "no tokens\n";
    return $file;
}

# --- servers --------------------------------------------------------------------------------------

sub config {
    my ($product, $port) = @_;
    my $to  = 'http://' . $upstream->address . '/';
    my @modules = ('mpm_event', qw(authn_core authz_core authz_host authz_user headers unique_id proxy proxy_http));
    my %own = (
        bare        => [ [], '', 'Require all granted' ],
        mod_headers => [ [], '', "Require all granted\nRequestHeader unset X-A\nRequestHeader set X-B b\nRequestHeader set X-C c" ],
        # as many as the gate sends for a CI job
        headers9    => [ [], '', join "\n", 'Require all granted', map { "RequestHeader set X-Gate-Header-$_ some-usual-value-$_" } 1 .. 9 ],
        gate        => [ [], <<"CONF", "AuthType Gate\nAuthName bench\nRequire gate-role deployer" ],
LoadModule gitlab_gate_module $ENV{GATE_MODULE}
GateStateDir $dir/state
GateAuditLog $dir/audit.log
<GateIssuer ci>
    GateKind gitlab
    GateIssuerURL $base/ci
    GateAudience gate
    GateRole deployer project_path=shop/orders ref_protected=true
</GateIssuer>
CONF
        mod_auth_openidc => [ ['auth_openidc'], <<"CONF", "AuthType oauth20\nAuthName bench\nRequire claim ref_protected:true" ],
OIDCCryptoPassphrase bench
OIDCOAuthVerifyJwksUri https://127.0.0.1:$tls_port/ci/jwks
OIDCOAuthSSLValidateServer Off
OIDCOAuthRemoteUserClaim user_login
CONF
        mod_oauth2 => [ ['oauth2'], <<"CONF", "AuthType oauth2\nAuthName bench\nRequire oauth2_claim ref_protected:true" ],
OAuth2TokenVerify jwks_uri $base/ci/jwks jwks_uri.ssl_verify=false
OAuth2TargetPass remote_user_claim=user_login
CONF
    );
    $own{no_audit} = [ map { s/^GateAuditLog.*\n//mr } @{ $own{gate} } ];
    $own{no_audit}[0] = [];
    $own{gate_two} = [ @{ $own{no_audit} } ];
    $own{gate_two}[2] .= join '', map { "\nGateHeader $_ none" } qw(X-Forwarded-Email X-Gate-Issuer X-Gate-Subject X-Gate-Project X-Gate-Ref X-Gate-Pipeline X-Gate-Job);
    my ($more, $server, $place) = @{ $own{$product} };
    my $load = join "\n", map { "LoadModule ${_}_module $ENV{GATE_HTTPD_MODULES}/mod_$_.so" } @modules, @$more;
    my $user = $> == 0 ? "User www-data\nGroup www-data" : '';
    return <<"CONF";
ServerRoot $dir
DefaultRuntimeDir $dir/run
PidFile $dir/run/$product.pid
ServerName localhost
ErrorLog $dir/$product.log
LogLevel error
$load
$user
Listen 127.0.0.1:$port
Mutex posixsem
MaxKeepAliveRequests 0
KeepAliveTimeout 60
StartServers 1
ServerLimit 1
ThreadsPerChild 16
ThreadLimit 16
MinSpareThreads 1
MaxSpareThreads 16
MaxRequestWorkers 16
$server
<Location "/">
    $place
    ProxyPass $to
</Location>
CONF
}

# Starts a product; @wrap goes before the command.
sub start {
    my ($product, @wrap) = @_;
    my $port = Gate::Httpd::free_port();
    my $file = Gate::Httpd::spew("$dir/$product.conf", config($product, $port));
    my $server = Gate::Process->start({ out => "$dir/$product.out" }, @wrap, $ENV{GATE_HTTPD}, '-f', $file, @wrap && $wrap[0] ne 'taskset' ? '-X' : '-DFOREGROUND');
    my $until = time + 60;
    while (!IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 1)) {
        die "$product did not start:\n" . Gate::Httpd::slurp("$dir/$product.out") . Gate::Httpd::slurp("$dir/$product.log") if !$server->alive || time > $until;
        sleep 0.05;
    }
    return { product => $product, port => $port, process => $server };
}

sub family {
    my ($pid) = @_;
    return ($pid, map { family($_) } split ' ', Gate::Httpd::slurp("/proc/$pid/task/$pid/children"));
}

# Nanoseconds that all threads of a server have run, by the scheduler's own count.
sub run_time {
    my ($server) = @_;
    my $sum = 0;
    for my $pid (family($server->{process}->pid)) {
        $sum += (split ' ', Gate::Httpd::slurp($_))[0] // 0 for glob "/proc/$pid/task/*/schedstat";
    }
    return $sum;
}

sub resident_kb {
    my ($server) = @_;
    my @sizes = map { Gate::Httpd::slurp("/proc/$_/status") =~ /VmRSS:\s+(\d+)/ ? $1 : 0 } family($server->{process}->pid);
    return (sort { $b <=> $a } @sizes)[0];
}

sub load {
    my ($server, $file, $connections, $count) = @_;
    my $text = `@load_cpu $ENV{GATE_LOAD} run $server->{port} / $file $connections $count`;
    die "the load on $server->{product} failed: $text\n" if $?;
    return JSON::decode_json($text);
}

sub fetches {
    my ($port) = $base =~ /:(\d+)$/;
    my $answer = Gate::Client::ask($port, 'POST', '/control/counts', body => '{}');
    return (JSON::decode_json($answer->body)->{ci} || {})->{jwks} || 0;
}

# --- the runs -------------------------------------------------------------------------------------

sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[ $#sorted / 2 ] }
sub quartiles { my @sorted = sort { $a <=> $b } @_; return [ map { $sorted[ $#sorted * $_ / 4 ] } 1 .. 3 ] }

# The product's own answer to each case, so that nobody measures something else.
sub expected {
    my ($product, $case) = @_;
    return '200' if $case =~ /hot|warm|cold/ || $product =~ /^bare|headers/;
    return $case eq 'role' ? '401|403' : '401';
}

my %got;    # case-alg, product => { cpu => [...], ... }
my @servers = map { start($_, @gate_cpu) } @PRODUCTS;
for my $alg (qw(RS256 ES256)) {
    my %file = (hot => tokens(1, $alg), warm => tokens($WARM, $alg), role => tokens(1, $alg, claims => { ref_protected => 'false' }));
    $file{bad} = tokens($WARM, $alg, mutate => 'flip_sig');
    $file{kid} = tokens($WARM, $alg, kid => 'nobody');
    for my $round (0 .. $rounds) {
        $file{cold} = tokens($WARM, $alg);
        for my $case (@CASES) {
            for my $server (@servers) {
                my $product = $server->{product};
                next if $case ne 'hot' && $product =~ $HOT_ALONE;
                my $count = $case =~ /hot|warm|role/ ? $requests : $WARM;
                my $connections = 8;
                my ($fetched, $before) = (fetches(), run_time($server));
                my $seen = load($server, $file{$case}, $connections, $count);
                my $cpu = (run_time($server) - $before) / 1000 / $count;
                my $expected = expected($product, $case);
                my @odd = grep { !/^(?:$expected)/ } keys %{ $seen->{statuses} };
                warn "$product, $case: " . JSON::encode_json($seen->{statuses}) . "\n" if @odd;
                next if $round == 0;    # warms everything up
                my $cell = $got{"$case $alg"}{$product} ||= {};
                push @{ $cell->{cpu} }, $cpu;
                push @{ $cell->{rps} }, $seen->{rps};
                push @{ $cell->{fetches} }, (fetches() - $fetched) * 1000 / $count;
                if ($case eq 'hot') {
                    my $alone = load($server, $file{hot}, 1, int($requests / 3));
                    push @{ $cell->{$_} }, $alone->{$_} for qw(p50_us p99_us);
                }
            }
        }
        print STDERR "round $round of $rounds, $alg\n";
    }
}

# The hot path is so near to bare that a round's drift would hide it: many short turns, each beside one of bare.
my %pairs;
my @near = grep { $_->{product} =~ /^(?:bare|gate|no_audit)|headers/ } @servers;
for my $alg ('RS256', $pairs ? 'ES256' : ()) {
    my $hot = tokens(1, $alg);
    for my $pair (1 .. $pairs) {
        my (%cpu, %rps);
        for my $server ($pair % 2 ? @near : reverse @near) {
            my $before = run_time($server);
            $rps{ $server->{product} } = load($server, $hot, 8, 500)->{rps};
            $cpu{ $server->{product} } = (run_time($server) - $before) / 1000 / 500;
        }
        for my $product (grep { $_ ne 'bare' } keys %cpu) {
            push @{ $pairs{$alg}{$product}{cpu} }, $cpu{$product} - $cpu{bare};
            push @{ $pairs{$alg}{$product}{rps} }, $rps{$product} / $rps{bare};
        }
    }
}

# Memory: the child before and after so many distinct tokens.
my (%memory, %floor);
if ($memory) {
    my $half = tokens($memory / 2, 'ES256');
    my $rest = tokens($memory / 2, 'ES256');
    for my $server (grep { $_->{product} !~ $HOT_ALONE } @servers) {
        my @sizes = (resident_kb($server));
        for my $file ($half, $rest) { load($server, $file, 8, $memory / 2); push @sizes, resident_kb($server) }
        $memory{ $server->{product} } = \@sizes;
    }
}
$_->{process}->stop for @servers;
for (['RS256', 'rs1'], ['ES256', 'es1']) {
    my ($alg, $key) = @$_;
    $floor{$alg} = JSON::decode_json(`@load_cpu $ENV{GATE_LOAD} floor @{[ tokens(200, $alg) ]} $key 20`);
}

# Instructions in user space: valgrind counts them, whatever else the machine does.
sub instructions {
    my ($product, $file) = @_;
    my @sums;
    for my $count (1, 100, 400) {    # the first run fetches the keys, for the others too
        my $counts = "$dir/callgrind.$product";
        unlink $counts;
        my $server = start($product, $> == 0 ? qw(setpriv --reuid=www-data --regid=www-data --clear-groups) : (),
            qw(valgrind -q --tool=callgrind), "--callgrind-out-file=$counts");
        load($server, $file, 1, $count);
        $server->{process}->stop;
        push @sums, Gate::Httpd::slurp($counts) =~ /^(?:totals|summary): (\d+)/m ? $1 : 0;
    }
    return int(($sums[2] - $sums[1]) / 300);
}
my %instructions;
if ($count && -x '/usr/bin/valgrind') {
    system "chown -R www-data '$dir'" if $> == 0;
    my ($hot, $cold) = (tokens(1, 'RS256'), tokens(400, 'RS256'));
    $instructions{hot}{$_} = instructions($_, $hot) for @PRODUCTS;
    $instructions{cold}{$_} = instructions($_, $cold) for 'gate', 'mod_oauth2';
}

# --- what came of it ------------------------------------------------------------------------------

my %result = (rounds => $rounds, requests => $requests, floor => \%floor, memory_kb => \%memory, instructions => \%instructions);
for my $run (keys %got) {
    for my $product (keys %{ $got{$run} }) {
        my $cell = $got{$run}{$product};
        $result{runs}{$run}{$product}{$_} = median(@{ $cell->{$_} }) for keys %$cell;
    }
}
for my $alg (keys %pairs) {
    for my $product (keys %{ $pairs{$alg} }) {
        my $cell = $pairs{$alg}{$product};
        $result{pairs}{$alg}{$product} = { map { $_ => quartiles(@{ $cell->{$_} }) } keys %$cell };
    }
}
sub bare { my ($alg, $what) = @_; return $result{runs}{"hot $alg"}{bare}{$what} }

print "Added CPU microseconds per request; in brackets requests/s as a fraction of bare. Refusals: microseconds in all.\n",
    "Pairs: the median of the differences from bare's turn beside it, the middle half, and the fraction.\n\n";
my @gates = grep { $_ ne 'bare' } @PRODUCTS;
printf "| %-12s | %s |\n", 'case', join ' | ', map { sprintf '%-18s', $_ } 'bare (in all)', @gates;
print '|---|', '---:|' x (1 + @gates), "\n";
for my $case (@CASES) {
    for my $alg (qw(RS256 ES256)) {
        my $refusal = $case =~ /role|bad|kid/;
        my @cells = sprintf '%.1f', bare($alg, 'cpu');
        for my $product (@gates) {
            my $cell = $result{runs}{"$case $alg"}{$product};
            push @cells, !$cell ? '' : $refusal ? sprintf('%.1f', $cell->{cpu}) . ($cell->{fetches} >= 1 ? sprintf ', %.0f fetches', $cell->{fetches} : '')
                : sprintf '%+.1f (%.2f)', $cell->{cpu} - bare($alg, 'cpu'), $cell->{rps} / bare($alg, 'rps');
        }
        printf "| %-12s | %s |\n", "$case $alg", join ' | ', map { sprintf '%-18s', $_ } @cells;
    }
}
for my $alg (sort keys %pairs) {
    my @cells = map { $result{pairs}{$alg}{$_} } @gates;
    printf "| %-12s | %s |\n", "hot $alg, $pairs pairs", join ' | ', '', map { $_ ? sprintf '%+.1f (%+.1f to %+.1f), %.2f', $_->{cpu}[1], @{ $_->{cpu} }[ 0, 2 ], $_->{rps}[1] : '' } @cells;
}
for my $what (qw(p50_us p99_us)) {
    printf "| %-12s | %s |\n", "$what, c=1", join ' | ', map { sprintf '%-18.0f', $result{runs}{'hot RS256'}{$_}{$what} } @PRODUCTS;
}
printf "| %-12s | %s |\n", "instr. $_", join ' | ', map { sprintf '%-18s', $_ // '' } @{ $instructions{$_} }{@PRODUCTS} for grep { $instructions{$_} } qw(hot cold);
printf "| %-12s | %s |\n", 'memory, kB', join ' | ', map { sprintf '%-18s', $memory{$_} ? join(' ', @{ $memory{$_} }) : '' } @PRODUCTS if $memory;
printf "\nThe floor, microseconds: %s\n", join '; ', map { sprintf '%s verification %.1f, base64 and JSON %.1f', $_, @{ $floor{$_} }{qw(verify_us read_us)} } sort keys %floor;

make_path($out);
Gate::Httpd::spew("$out/results.json", JSON->new->canonical->pretty->encode(\%result));
Gate::Httpd::spew("$out/added-cpu.svg", svg());
print "\nWritten: $out/results.json, $out/added-cpu.svg\n";

# Bars of the CPU time that each product adds to a proxied request. A logarithmic scale: they are that far apart.
sub svg {
    my ($y, @bars) = (50);
    for my $case ('hot RS256', 'cold RS256', 'hot ES256', 'cold ES256') {
        my ($alg) = $case =~ /(\w+)$/;
        push @bars, qq{<text x="10" y="$y" font-weight="bold">$case</text>};
        for my $product (grep { $_ !~ $HOT_ALONE || $case =~ /hot/ } @gates) {
            $y += 20;
            my $added = $result{runs}{$case}{$product}{cpu} - bare($alg, 'cpu');
            my $width = int(420 * log(1 + ($added > 0 ? $added : 0)) / log 1001);
            my $colour = $product =~ /gate|no_audit/ ? '#c40' : '#999';
            push @bars, sprintf '<text x="10" y="%d">%s</text><rect x="150" y="%d" width="%d" height="13" fill="%s"/><text x="%d" y="%d">%.0f</text>',
                $y, $product, $y - 11, $width || 1, $colour, 156 + $width, $y, $added;
        }
        $y += 34;
    }
    return qq{<svg xmlns="http://www.w3.org/2000/svg" width="640" height="$y" font-family="sans-serif" font-size="13">\n}
        . qq{<rect width="100%" height="100%" fill="#fff"/>\n<text x="10" y="20">CPU microseconds added to a proxied request (log scale)</text>\n}
        . join("\n", @bars) . "\n</svg>\n";
}
