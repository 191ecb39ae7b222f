# Keys on bad days: issuers that are down, hang or lie; floods of unknown keys; keys that leave; one fetch for the host.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Load;
use File::Temp ();
use Time::HiRes qw(time sleep);

my %bad = (
    hang => {}, drip => {}, redirect => {}, error500 => {}, html => {}, huge => {}, gzip_bomb => {}, wrong_issuer => {}, empty => {},
    truncated => {}, not_found => {}, down => {}, 'many_keys:101' => {},
    plain  => { mode => 'ok', discovery => { jwks_uri => 'http://192.0.2.1/jwks' } },
    nouri  => { mode => 'ok', discovery => { jwks_uri => undef } },
    userinfo => { mode => 'ok', discovery => { jwks_uri => 'https://a:b@issuer.example.com/jwks' } },
);
my %issuer;    # name => how it misbehaves
for my $mode (sort keys %bad) { (my $name = "bad-$mode") =~ tr/:_/--/; $issuer{$name} = { mode => $mode, %{ $bad{$mode} } } }
control('set', issuer => $_, %{ $issuer{$_} }) for keys %issuer;
control('set', issuer => 'late', mode => 'error500');

my $dir = File::Temp->newdir('gate-keys-XXXXXX', TMPDIR => 1);
chmod 0755, $dir;
my $public = JSON::decode_json(Gate::Httpd::slurp("$FindBin::RealBin/../support/keys/public.json"));
sub put_keys {
    my (@names) = @_;
    Gate::Httpd::spew("$dir/keys.new", JSON::encode_json({ keys => [ map { { %{ $public->{$_} }, kid => $_ } } @names ] }));
    chmod 0644, "$dir/keys.new";
    rename "$dir/keys.new", "$dir/keys.json" or die $!;
}
put_keys('rs1');

my $httpd = httpd(
    join('', map { issuer_section($_, 'GateTimeout 1s') } sort keys %issuer)
        . issuer_section('late', 'GateTimeout 1s')
        . issuer_section('good')
        . issuer_section('once')
        . issuer_section('leave', 'GateRefresh 1s', 'GateTimeout 1s')
        . issuer_section('stale', 'GateRefresh 1s', 'GateMaxStale 4s', 'GateTimeout 1s')
        . issuer_section('flood')
        . issuer_section('hanging', 'GateTimeout 9s')
        . issuer_section('file', "GateJWKS file:$dir/keys.json")
        . gated('/', 'Require valid-user')
);
expect_in_log(qr/GATE31[135]: issuer/);

# Asks until the answer is as wanted, for at most that long.
sub until_it_is {
    my ($status, $seconds, $ask) = @_;
    my $until = time + $seconds;
    my $answer;
    do { $answer = $ask->(); return $answer if $answer->status == $status; sleep 0.2 } while (time < $until);
    return $answer;
}
sub get { my ($token) = @_; return $httpd->get('/x', token => $token) }

# -- down at start: httpd serves, and the issuer's return is seen
refused(get(mint(issuer => 'late')), 503, 'keys_unavailable', 'an issuer that is down at start');
like(get(mint(issuer => 'late'))->header('Retry-After') // '', qr/^\d+$/, 'with Retry-After');
passes(get(mint(issuer => 'good')), 'another one serves meanwhile');
control('set', issuer => 'late', mode => 'ok');
passes(until_it_is(200, 45, sub { get(mint(issuer => 'late')) }), 'and it serves once it is back');

# -- every way to misbehave is a 503 in good time, and never holds up another issuer
for my $name (sort keys %issuer) {
    my $start = time;
    my $answer = get(mint(issuer => $name));
    refused($answer, 503, 'keys_unavailable', "$name: no keys");
    cmp_ok(time - $start, '<', 10, 'in good time');
    ok($httpd->wait_for_log(qr/GATE311: issuer \Q$name\E: /, 10), 'and the log says why');
}
my $start = time;
passes(get(mint(issuer => 'good')), 'a good issuer passes after all of it');
cmp_ok(time - $start, '<', 5, 'at once');
for my $name ('bad-redirect', 'bad-html', 'bad-wrong-issuer', 'bad-plain') {
    my ($line) = $httpd->error_log =~ /(GATE311: issuer \Q$name\E: .*)/;
    like($line // '', { 'bad-redirect' => qr/redirect/, 'bad-html' => qr/Maintenance|text\/html/, 'bad-wrong-issuer' => qr/other/, 'bad-plain' => qr/http:\/\/192\.0\.2\.1/ }->{$name}, "$name: with what came");
}
for my $pid (split ' ', `pgrep -P @{[ $httpd->{process}->pid ]}`) {
    my ($peak) = Gate::Httpd::slurp("/proc/$pid/status") =~ /VmHWM:\s+(\d+)/;
    cmp_ok($peak // 0, '<', 150_000, 'no child took a gigabyte in');
}

# -- one fetch for the host, however many children and requests
passes(get(mint(issuer => 'once', claims => { jti => $_ })), "request $_ of one issuer") for 1 .. 20;
is(counts('once')->{jwks}, 1, 'its keys were fetched once for all children');
is(counts('once')->{discovery}, 1, 'and discovered once');

# -- good keys serve on, whatever the issuer does afterwards
my $leave = mint(issuer => 'leave');
passes(get($leave), 'an issuer that is well');
for my $mode (qw(hang error500 html empty wrong_issuer down)) {
    my $before = counts('leave');
    control('set', issuer => 'leave', mode => $mode);
    sleep 1.5;
    passes(get($leave), "serves on while it does this: $mode");
    passes(get(mint(issuer => 'leave', claims => { jti => $mode })), 'for new tokens too');
}
control('set', issuer => 'leave', mode => 'ok');

# -- a key that leaves the set takes its tokens along, cached or not
control('set', issuer => 'leave', jwks => ['es1']);
my $gone = until_it_is(401, 45, sub { get($leave) });
refused($gone, 401, 'key_unknown', 'a token that was verified before is refused once its key is gone');
passes(get(mint(issuer => 'leave', alg => 'ES256')), 'the key that stays serves');
control('set', issuer => 'leave', jwks => [ 'es1', 'rs1' ]);
passes(until_it_is(200, 45, sub { get($leave) }), 'and it passes again once its key is back');

# -- a set without any key that fits is an answer, and takes them all along
for my $none ('{"keys":[]}', '{"keys":[{"kty":"EC","crv":"P-521","kid":"new","x":"AAAA","y":"AAAA"}]}') {
    control('set', issuer => 'leave', jwks => $none);
    refused(until_it_is(401, 45, sub { get($leave) }), 401, 'key_unknown', "a token that was verified before is refused where the set is $none");
    my $new = mint(issuer => 'leave', claims => { jti => $none });
    refused(until_it_is(401, 15, sub { get($new) }), 401, 'key_unknown', 'a new one too');
    ok($httpd->wait_for_log(qr/GATE315: issuer leave: /, 10), 'and the log says so');
    control('set', issuer => 'leave', jwks => ['rs1']);
    passes(until_it_is(200, 45, sub { get($leave) }), 'until there is a key again');
}

# -- too old to serve
my $stale = mint(issuer => 'stale');
passes(get($stale), 'keys that are fresh');
control('set', issuer => 'stale', mode => 'error500');
refused(until_it_is(503, 20, sub { get($stale) }), 503, 'keys_unavailable', 'keys older than GateMaxStale serve nobody, a cached token neither');
control('set', issuer => 'stale', mode => 'ok');
passes(until_it_is(200, 45, sub { get($stale) }), 'and serve again once they are fresh');

# -- unknown keys by the hundred
passes(get(mint(issuer => 'flood')), 'before the flood');
my $before = counts('flood');
my @valid = map { mint(issuer => 'flood', claims => { jti => "v$_" }) } 1 .. 3;
my @unknown = map { mint(issuer => 'flood', kid => "nobody-$_") } 1 .. 125;
$start = time;
my $valid = Gate::Load->start(clients => 1, ask => sub { get($valid[ rand @valid ]) });
my @floods = map {
    my $at = 0;
    Gate::Load->start(clients => 1, ask => sub { return $at < @unknown ? get($unknown[ $at++ ]) : do { sleep 0.1; bless { status => 401, headers => [], body => '', line => '' }, 'Gate::Answer' } }, good => sub { $_[0]->status == 401 });
} 1 .. 4;
sleep 4;
for my $flood (@floods) { my ($count, @wrong) = $flood->stop; cmp_ok($count, '>=', 20, 'a flood came'); is("@wrong", '', 'and each of it was refused') }
my ($count, @wrong) = $valid->stop;
my $took = time - $start;
ok($count > 10, "$count valid requests flowed meanwhile");
is(join("\n", @wrong), '', 'and none of them was refused');
cmp_ok(counts('flood')->{jwks} - $before->{jwks}, '<=', 1 + int($took / 10), 'at most one fetch in 10 s');
expect_in_log(qr/GATE401: refused: key_unknown: /);

# -- an issuer that hangs, and clients who know that: those of another issuer never notice
my $well = mint(issuer => 'good');
passes(get(mint(issuer => 'hanging')), 'an issuer that is well');
passes(get($well), 'and another');
control('set', issuer => 'hanging', mode => 'hang');
my @forged = map { mint(issuer => 'hanging', kid => "forged-$_") } 0 .. 40;
my $crowd = Gate::Load->start(clients => 40, good => sub { $_[0]->status == 401 }, ask => sub { my ($at) = @_; sleep 0.1; get($forged[$at]) });
my ($asked, $longest) = (0, 0);
for ($start = time; time < $start + 6; sleep 0.1) {
    my $from = time;
    my $answer = get($well);
    $longest = time - $from if time - $from > $longest;
    $asked++ if $answer->status == 200;
}
cmp_ok($asked, '>', 5, "another issuer's clients are served");
cmp_ok($longest, '<', 5, 'and none waits for the one that hangs');
control('set', issuer => 'hanging', mode => 'ok');
my ($refused, @odd) = $crowd->stop;
is("@odd", '', 'who waited is refused');

# -- keys in a file
my ($one, $two) = map { mint(issuer => 'file', key => $_, kid => $_) } qw(rs1 rs2);
passes(get($one), 'keys in a file serve');
refused(get($two), 401, 'key_unknown', 'and no others');
put_keys('rs1', 'rs2');
passes(until_it_is(200, 15, sub { get($two) }), 'a new one is seen');
put_keys('rs2');
refused(until_it_is(401, 15, sub { get($one) }), 401, 'key_unknown', 'one that is taken out is refused, cached or not');
Gate::Httpd::spew("$dir/keys.json", '{"keys":[');
ok($httpd->wait_for_log(qr/GATE311: issuer file: /, 15), 'half a file is told');
passes(get($two), 'and the last good keys serve');
put_keys();
refused(until_it_is(401, 15, sub { get($two) }), 401, 'key_unknown', 'an emptied file takes the last one along');
put_keys('rs2');
passes(until_it_is(200, 20, sub { get($two) }), 'until it is back');
sleep 1.5;    # for each child
unlink "$dir/keys.json";
sleep 1.5;
passes(get($two), 'also where the file is gone');
put_keys('rs1');
passes(until_it_is(200, 20, sub { get($one) }), 'until there is a good one');

# -- keys without a name that are changed: a token that they do not fit has them fetched, once in 10 s
control('set', issuer => 'nameless', jwks => [ { key => 'rs1', set => { kid => undef } } ]);
my $nameless = httpd(issuer_section('nameless') . gated('/', 'Require valid-user'));
passes($nameless->get('/', token => mint(issuer => 'nameless', kid => 'r1')), 'a key without a name serves a token with kid');
control('set', issuer => 'nameless', jwks => [ { key => 'rs2', set => { kid => undef } } ]);
my $next = mint(issuer => 'nameless', key => 'rs2', kid => 'r2');
passes(until_it_is(200, 30, sub { $nameless->get('/', token => $next) }), 'a new key is fetched for the token that it signed');
my $fetches = counts('nameless')->{jwks};
$start = time;
refused($nameless->get('/', token => mint(issuer => 'nameless', key => 'rsx', kid => "forged-$_")), 401, 'signature', 'a forged token is refused') for 1 .. 20;
cmp_ok(counts('nameless')->{jwks} - $fetches, '<=', 1 + int((time - $start) / 10), 'and has them fetched at most once in 10 s');

# -- unfit keys are named at each start, also where the keys were kept
SKIP: {
    my $state = File::Temp->newdir('gate-state-XXXXXX', TMPDIR => 1);
    chown +(getpwnam 'www-data')[2, 3], "$state" if $> == 0;
    control('set', issuer => 'unfit', jwks => [ 'rs1', { key => 'es1', set => { use => 'enc' } } ]);
    put_keys('rs1', 'rs1024');
    my $config = "GateStateDir $state\n" . issuer_section('unfit') . issuer_section('unfitfile', "GateJWKS file:$dir/keys.json") . gated('/', 'Require valid-user');
    for my $start ('first', 'second') {
        my $httpd = httpd($config);
        passes($httpd->get('/', token => mint(issuer => 'unfit')), "the others serve ($start start)");
        ok($httpd->wait_for_log(qr/GATE313: issuer unfit: key es1 is passed over: use is "enc", wanted sig/, 10), 'the log names the unfit key and why');
        ok($httpd->wait_for_log(qr/GATE313: issuer unfitfile: key rs1024 is passed over: RSA with 1024 bits/, 10), 'of a file too');
        sleep 1.5;
        my @said = $httpd->error_log =~ /(GATE313: issuer unfit: )/g;
        is(scalar @said, 1, 'once');
        $httpd->stop;
    }
    expect_in_log(qr/GATE313/);
}

# -- kept keys that another user has put there
SKIP: {
    skip 'only root can give files away', 5 if $> != 0;
    my $state = File::Temp->newdir('gate-state-XXXXXX', TMPDIR => 1);
    chown +(getpwnam 'www-data')[2], 1, "$state";
    chmod 0770, $state;
    my $config = "GateStateDir $state\n" . issuer_section('planted') . gated('/', 'Require valid-user');
    my $first = httpd($config);
    passes($first->get('/', token => mint(issuer => 'planted')), 'keys are kept in GateStateDir');
    ok($first->wait_for_log(qr/\[\S*:warn\].*GATE304: GateStateDir \Q$state\E is writable by its group/), 'which should be nobody else\'s');
    $first->stop;
    my ($kept) = glob "$state/planted-*.json";
    my $document = JSON::decode_json(Gate::Httpd::slurp($kept));
    $document->{jwks} = JSON::encode_json({ keys => [ { %{ $public->{rs2} }, kid => 'rs1' } ] });
    $document->{$_} += 1000 for qw(revision next_at);
    unlink $kept;
    Gate::Httpd::spew($kept, JSON::encode_json($document));
    chmod 0644, $kept;
    chown 1, 1, $kept;
    my $second = httpd($config);
    passes($second->get('/', token => mint(issuer => 'planted')), "another user's keys are not believed");
    refused($second->get('/', token => mint(issuer => 'planted', key => 'rs2', kid => 'rs1')), 401, 'signature', 'for nobody');
    ok($second->wait_for_log(qr/GATE314: .*is not used/), 'and the log says so');
    expect_in_log(qr/GATE304/, qr/GATE314: .*is not used/);
}

finish();
