# The gate's own statements: what they say, how long, by which key; and where the keys are.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use File::Temp ();
use JSON ();
use MIME::Base64 qw(decode_base64url);
use Time::HiRes qw(sleep time);

my $keys = "$FindBin::RealBin/../support/keys";
my $dir = File::Temp->newdir('gate-assertion-XXXXXX', TMPDIR => 1);
chmod 0755, $dir;
# Root's alone: the key is read before httpd gives up root's rights.
sub key {
    my ($name) = @_;
    my $file = Gate::Httpd::spew("$dir/$name.pem", Gate::Httpd::slurp("$keys/$name.pem"));
    chmod 0600, $file;
    return "GateAssertionKey file:$file\n";
}
sub parts {
    my ($jwt) = @_;
    return map { JSON->new->utf8->decode(decode_base64url($_)) } (split /\./, $jwt // '')[ 0, 1 ];
}
my $jwks = "<Location /jwks>\n SetHandler gate-jwks\n AuthType None\n Require all granted\n</Location>\n";
my @places = (
    gated('/', 'Require valid-user'),
    gated('/on/', 'GateAssertion on audience=https://registry.test ttl=20s', 'Require valid-user'),
    gated('/own/', 'GateAssertion on header=X-Who-Says', 'Require valid-user'),
    gated('/named/', 'GateHeader X-Signed assertion', 'Require valid-user'),
    gated('/optional/', 'GateAssertion on', 'Require all granted'),
    gated('/on/off/', 'GateAssertion off'),
);
my $httpd = httpd(key('es1') . key('rs1') . key('ed1') . issuer_section('a', 'GateRoleClaim groups') . issuer_section('gl', 'GateKind gitlab') . join('', @places) . $jwks);
expect_in_log('all granted');
my $token = mint(issuer => 'a', claims => { email => 'dana@example.com', groups => ['dev'], name => 'Dana' }, exp_in => 3600);

my $jwt = $httpd->get('/on/x', token => $token)->sent('X-Gate-Assertion');
my ($header, $claims) = parts($jwt);
is_deeply([ @$header{qw(alg typ)} ], [ 'ES256', 'gate-assertion+jwt' ], 'signed by the first key, with a type of its own');
is($claims->{iss}, 'http://127.0.0.1:' . $httpd->port, 'iss is the gate: scheme, ServerName and port');
is($claims->{aud}, 'https://registry.test', 'aud');
is($claims->{sub}, 'dana', 'sub');
is($claims->{user}, 'dana', 'user');
is($claims->{email}, 'dana@example.com', 'email');
is_deeply($claims->{roles}, ['dev'], 'roles');
is($claims->{issuer}, 'a', 'issuer');
like($claims->{jti}, qr/^[0-9a-f]{32}$/, 'jti');
is($claims->{exp} - $claims->{iat}, 20, 'ttl');
ok(!exists $claims->{name}, "no name: GitLab's login would take it for one of its own");
is((parts($httpd->get('/on/x', token => $token, headers => [ Host => 'evil.test' ])->sent('X-Gate-Assertion')))[1]{iss}, 'http://127.0.0.1:' . $httpd->port, "the client's Host is not believed");

my ($public) = grep { $_->{kid} eq $header->{kid} } @{ JSON::decode_json($httpd->get('/jwks')->body)->{keys} };
ok($public, 'the key is among those published');

# -- once per token and period, in each child
my %seen;
$seen{ $httpd->get('/on/x', token => $token)->sent('X-Gate-Assertion') }++ for 1 .. 30;
cmp_ok(scalar keys %seen, '<=', 6, 'not signed for each request');

my @jti = map { (parts($_))[1]{jti} } keys %seen, $httpd->get('/on/x', token => mint(issuer => 'a', claims => { sub => 'eve' }))->sent('X-Gate-Assertion');
my %jti = map { $_ => 1 } @jti;
is(scalar keys %jti, scalar @jti, 'each that is signed has a number of its own');

# -- one server's is not another's
my $both = httpd("ServerName main.test\n" . key('es1') . issuer_section('a') . gated('/', 'GateAssertion on', 'Require valid-user') . join '', map { "<VirtualHost *:\@PORT\@>\n ServerName $_.test\n</VirtualHost>\n" } qw(one two));
for my $round (1 .. 6) {
    for my $host (qw(one two)) {
        my $said = (parts($both->get('/x', token => $token, headers => [ Host => "$host.test" ])->sent('X-Gate-Assertion')))[1];
        next if $said->{iss} =~ m{^http://$host\.test} && $said->{aud} eq $said->{iss};
        fail("$host: iss $said->{iss}");
    }
}
pass('each virtual host speaks for itself');

# -- never longer than the token
my $short = mint(issuer => 'a', exp_in => 7);
(undef, $claims) = parts($httpd->get('/on/x', token => $short)->sent('X-Gate-Assertion'));
is($claims->{exp}, (parts($short))[1]{exp}, 'it ends with the token');

my %late = (exp_in => -5, iat_in => -100, nbf_in => -100);
passes($httpd->get('/x', token => mint(issuer => 'a', %late)), 'within the skew a token still holds');
refused($httpd->get($_, token => mint(issuer => 'a', %late)), 401, 'expired', "$_: but there is nothing left to state") for '/on/x', '/named/x';

# -- CI
(undef, $claims) = parts($httpd->get('/own/x', token => mint(issuer => 'gl', shape => 'gitlab'))->sent('X-Who-Says'));
is_deeply([ @$claims{qw(project_path pipeline_id job_id ref sha user)} ], [ 'shop/orders', 574, 302, 'main', '714a629c0b401fdce83e847fc9589983fc6f46bc', 'dana' ], 'CI: project, pipeline, job');
is($claims->{aud}, $claims->{iss}, 'aud is the gate itself where none is named');
ok($claims->{exp} - $claims->{iat} <= 60, 'at most 60 s where none is said');

# -- where
is($httpd->get('/x', token => $token)->sent('X-Gate-Assertion'), undef, 'only where it is asked for');
is($httpd->get('/on/off/x', token => $token)->sent('X-Gate-Assertion'), undef, 'off inside');
ok($httpd->get('/named/x', token => $token)->sent('X-Signed'), 'GateHeader NAME assertion');
is($httpd->get('/optional/x', headers => [ 'X-Gate-Assertion' => 'forged' ])->sent('X-Gate-Assertion'), undef, 'none without an identity, and none of the client');
for my $name ('X-Gate-Assertion', 'x_gate_assertion', 'X-Who-Says', 'X_SIGNED') {
    unlike(JSON::encode_json($httpd->get('/x', token => $token, headers => [ $name => 'forged' ])->upstream_saw), qr/forged/, "the client's $name does not get through");
}
ok($httpd->get('/on/x', token => $token, headers => [ Connection => 'close, X-Gate-Assertion' ])->sent('X-Gate-Assertion'), 'Connection does not drop it');

# -- the gate does not believe itself
refused($httpd->get('/x', token => $jwt), 401, 'type', 'an assertion is no token');

# -- keys
my $answer = $httpd->get('/jwks');
my $set = JSON::decode_json($answer->body);
is_deeply([ map { $_->{alg} } @{ $set->{keys} } ], [qw(ES256 RS256 EdDSA)], 'all keys are published, the one that signs first');
like($answer->header('Cache-Control'), qr/max-age=\d+/, 'and may be kept for a while');
unlike($answer->body, qr/"(?:d|p|q|dp|dq|qi)":/, 'no private member');
my $not = $httpd->ask('POST', '/jwks', body => '');
is($not->status, 405, 'GET only');
like($not->header('Allow'), qr/\bGET\b/, 'as Allow says');
is($httpd->ask('HEAD', '/jwks')->status, 200, 'and HEAD');

# Debian's ruby-jwt verifies what it fetches.
for my $name (qw(es1 rs1 ed1)) {
    my $one = httpd(key($name) . issuer_section('a') . $places[1] . $jwks);
    my $jwt = $one->get('/on/x', token => $token)->sent('X-Gate-Assertion');
    my ($head) = parts($jwt);
    my $published = $one->get('/jwks')->body;
    my $verified = ruby($name eq 'ed1' ? 'true' : <<'RUBY', $jwt, $published, $head->{alg});
        require 'jwt'; require 'json'
        jwks = JWT::JWK::Set.new(JSON.parse(ARGV[1])) rescue jwks = JSON.parse(ARGV[1], symbolize_names: true)
        claims, _ = JWT.decode(ARGV[0], nil, true, algorithms: [ARGV[2]], jwks: JSON.parse(ARGV[1], symbolize_names: true), aud: 'https://registry.test', verify_aud: true, verify_iat: true)
        puts claims['user']
RUBY
    is($verified, $name eq 'ed1' ? '' : "dana\n", "ruby-jwt verifies $head->{alg} by the published key");
    $one->stop;
}
sub ruby {
    my ($script, @arguments) = @_;
    return '' if $script eq 'true';
    open my $out, '-|', 'ruby', '-e', $script, @arguments or die "ruby: $!";
    local $/;
    my $text = <$out>;
    close $out;
    return $text;
}

# -- rotation: the new key is published second, then signs; the old one is published on
$httpd->configure(key('rs1') . key('es1') . issuer_section('a') . join('', @places) . $jwks);
$httpd->restart('HUP');
ok(soon(sub { ((parts($httpd->get('/on/x', token => $token)->sent('X-Gate-Assertion')))[0]{alg} // '') eq 'RS256' }), 'the order of the lines says which key signs');
is_deeply([ map { $_->{alg} } @{ JSON::decode_json($httpd->get('/jwks')->body)->{keys} } ], [qw(RS256 ES256)], 'both are published');
sub soon {
    my ($holds) = @_;
    my $until = time + 10;
    while (time < $until) { return 1 if $holds->(); sleep 0.1 }
    return 0;
}

# -- what can't be written
Gate::Httpd::spew("$dir/garbage.pem", 'no key');
my $good = key('es1');
Gate::Httpd::spew("$dir/two.pem", Gate::Httpd::slurp("$keys/es1.pem") . Gate::Httpd::slurp("$keys/rs1.pem"));
for my $case (
    [ 'GateAssertionKey file:/nonexistent.pem',    'No such file' ],
    [ "GateAssertionKey file:$dir/garbage.pem",    'holds no private key' ],
    [ "GateAssertionKey file:$dir/two.pem",        'more than one private key' ],
    [ key('rs1024'),                               'of no kind that is used here' ],
    [ key('es384'),                                'of no kind that is used here' ],
    [ "$good$good",                                'is there already' ],
    [ 'GateAssertionKey x.pem',                    'an absolute path' ],
    [ '',                                          'there is no GateAssertionKey', 'GateAssertion on' ],
    [ '',                                          'there is no GateAssertionKey', 'GateHeader X-A assertion' ],
    [ $good,                                       'at most 300s', 'GateAssertion on ttl=1h' ],
    [ $good,                                       'longer than nothing', 'GateAssertion on ttl=0' ],
    [ $good,                                       'takes on or off', 'GateAssertion on lifetime=1' ],
    [ $good,                                       'carries the request itself', 'GateAssertion on header=Host' ],
    [ key('ed1'),                                  'takes RS256 and ES256', "SetHandler gate-gitlab-login" ],
) {
    my ($head, $words, @more) = @$case;
    my ($status, $out) = configtest("$head\n" . issuer_section('a') . gated('/', @more, 'Require valid-user'));
    ok($status != 0 && $out =~ /\Q$words\E/, join ' ', "'$words':", map { s/\n.*//sr } $head, @more) or diag($out);
}
my ($status, $out) = configtest(issuer_section('a') . gated('/', 'Require valid-user') . "<VirtualHost *>\n$good</VirtualHost>\n");
ok($status != 0 && $out =~ /whole server/, 'a key stands in the main server');
finish();
