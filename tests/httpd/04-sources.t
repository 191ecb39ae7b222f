# Where a token may come from; that it goes no further; and that two are one too many.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use MIME::Base64 qw(encode_base64);

my @places = (
    [ bearer => 'bearer' ], [ basic => 'basic' ], [ proxy => 'proxy' ], [ header => 'header:X-Gate-Token' ],
    [ cookie => 'cookie:gate' ], [ query => 'query:gate' ], [ all => 'bearer basic proxy header:X-Gate-Token cookie:gate query:gate' ],
);
my $httpd = httpd(
    issuer_section('a')
        . join('', map { gated("/$_->[0]/", "GateTokenFrom $_->[1]", 'Require valid-user') } @places)
        . gated('/default/', 'Require valid-user')
        . gated('/forward/', 'GateTokenFrom bearer', 'GateForwardToken on', 'Require valid-user')
        . gated('/optional/', 'Require all granted')
        . gated('/off/', 'AuthType None', 'Require all granted')
);
expect_in_log('all granted');

my $token = mint(issuer => 'a');
my $other = mint(issuer => 'a', claims => { jti => 'other' });
sub basic { return 'Basic ' . encode_base64("$_[0]:$_[1]", '') }

# [name, place, headers, target's rest, the header that must not go on]
my %way = (
    bearer => sub { ([ Authorization => "Bearer $_[0]" ], '') },
    basic  => sub { ([ Authorization => basic('oauth2', $_[0]) ], '') },
    proxy  => sub { ([ 'Proxy-Authorization' => "Bearer $_[0]" ], '') },
    header => sub { ([ 'X-Gate-Token' => $_[0] ], '') },
    cookie => sub { ([ Cookie => "a=1; gate=$_[0]; b=2" ], '') },
    query  => sub { ([], "?a=1&gate=$_[0]&b=%2F") },
);
for my $source (sort keys %way) {
    my ($headers, $query) = $way{$source}->($token);
    my $answer = $httpd->get("/$source/x%2Fy$query", headers => $headers);
    passes($answer, "a token by $source passes");
    my $saw = JSON::encode_json($answer->upstream_saw || {});
    unlike($saw, qr/\Q@{[ substr $token, -30 ]}\E/, "and goes no further ($source)");
    if ($source eq 'query')  { is($answer->target, '/query/x%2Fy?a=1&b=%2F', 'the other parameters do') }
    if ($source eq 'cookie') { is($answer->sent('Cookie'), 'a=1; b=2', 'the other cookies do') }
    for my $elsewhere (grep { $_ ne $source } sort keys %way) {
        # Where the query is no source, nothing is cut out of it, so no token that counts goes there.
        my ($headers, $query) = $way{$elsewhere}->($elsewhere eq 'query' ? 'no-token' : $token);
        refused($httpd->get("/$source/x$query", headers => $headers), 401, 'token_missing', "a token by $elsewhere is none where only $source counts");
    }
}
passes($httpd->get('/proxy/x', headers => [ 'Proxy-Authorization' => basic('job', $token) ]), "Basic's password in Proxy-Authorization passes");
my $answer = $httpd->get('/proxy/x', headers => [ 'Proxy-Authorization' => "Bearer $token", Authorization => 'Basic cm9vdDpwYXNz' ]);
is($answer->sent('Authorization'), 'Basic cm9vdDpwYXNz', "GitLab's own credential goes on beside the gate's");
is($answer->sent('Proxy-Authorization'), undef, "and the gate's does not");
passes($httpd->get('/default/x', token => $token), 'bearer is the default');
refused($httpd->get('/default/x', headers => [ Authorization => basic('a', $token) ]), 401, 'token_missing', 'and Basic is not');
passes($httpd->get('/default/x', headers => [ Authorization => "bEARER $token" ]), 'the scheme is compared without case');
passes($httpd->get('/default/x', headers => [ authorization => "Bearer $token" ]), 'and the name of the header');
passes($httpd->get('/basic/x', headers => [ Authorization => basic('', $token) ]), 'any user name will do');
refused($httpd->get('/basic/x', headers => [ Authorization => 'Basic %%%' ]), 401, 'token_malformed', 'Basic that is no base64 is malformed');
is($httpd->get('/cookie/x', headers => [ Cookie => "gate=$token" ])->sent('Cookie'), undef, 'a cookie header that becomes empty goes');
is($httpd->get("/query/x?gate=$token")->target, '/query/x', 'a query that becomes empty goes');

$answer = $httpd->get('/forward/x', token => $token);
is($answer->sent('Authorization'), "Bearer $token", 'GateForwardToken on leaves it in');

# Several
for my $case (
    [ 'a header given twice',                 'bearer', [ Authorization => "Bearer $token", Authorization => "Bearer $token" ] ],
    [ 'a header given twice with others',     'bearer', [ Authorization => "Bearer $token", Authorization => "Bearer $other" ] ],
    [ 'a comma in a credential',              'bearer', [ Authorization => "Bearer $token, Bearer $other" ] ],
    [ 'a comma without space',                'bearer', [ Authorization => "Bearer $token,$token" ] ],
    [ 'a header of ours given twice',         'header', [ 'X-Gate-Token' => $token, 'X-Gate-Token' => $token ] ],
    [ 'a comma in a header of ours',          'header', [ 'X-Gate-Token' => "$token,$other" ] ],
    [ 'a cookie given twice',                 'cookie', [ Cookie => "gate=$token; gate=$token" ] ],
    [ 'a cookie in two headers',              'cookie', [ Cookie => "gate=$token", Cookie => "gate=$other" ] ],
    [ 'a comma in a cookie',                  'cookie', [ Cookie => "gate=$token,$other" ] ],
    [ 'a comma and a blank in a cookie',      'cookie', [ Cookie => "a=1; gate=$token, $other; b=2" ] ],
    [ 'a comma at the end of a cookie',       'cookie', [ Cookie => "gate=$token," ] ],
    [ 'a comma in a quoted cookie',           'cookie', [ Cookie => qq(gate="$token,$other") ] ],
    [ "a comma in Basic's password",          'basic',  [ Authorization => basic('x', "$token,$other") ] ],
    [ 'a header and a cookie of two tokens',  'all',    [ Authorization => "Bearer $token", Cookie => "gate=$other" ] ],
    [ 'Authorization and Proxy-Authorization', 'all',   [ Authorization => "Bearer $token", 'Proxy-Authorization' => "Bearer $other" ] ],
    (map { my $place = $_; map { [ "'$_' and Bearer ($place)", $place, [ Authorization => $_, Authorization => "Bearer $token" ] ] } ('Negotiate abc', 'Digest username="x", realm="y"', 'token x', '') } qw(bearer optional)),
    [ 'Negotiate and Basic',                  'basic',  [ Authorization => 'Negotiate abc', Authorization => basic('x', $token) ] ],
    [ 'Negotiate and Bearer in Proxy-Authorization', 'proxy', [ 'Proxy-Authorization' => 'Negotiate abc', 'Proxy-Authorization' => "Bearer $token" ] ],
    [ 'Bearer and Basic',                     'all',    [ Authorization => "Bearer $token", Authorization => basic('x', $token) ] ],
) {
    my ($name, $place, $headers) = @$case;
    refused($httpd->get("/$place/x", headers => $headers), 400, 'token_ambiguous', "$name counts as two");
}
refused($httpd->get("/query/x?gate=$token&gate=$token"), 400, 'token_ambiguous', 'a parameter given twice counts as two');
refused($httpd->get("/query/x?gate=$token,$other"), 400, 'token_ambiguous', 'a comma in a parameter');
refused($httpd->get("/query/x?gate=$token%2C$other"), 400, 'token_ambiguous', 'also where it is escaped');
refused($httpd->get('/basic/x', headers => [ Authorization => basic('x', 'my,password') ]), 401, 'token_malformed', 'a password with a comma is a wrong one, and not two tokens');
for ([ "gate=$token, a=1", 'a=1' ], [ "a=1,gate=$token", 'a=1' ], [ "a=1,2; gate=$token", 'a=1,2' ], [ "\tgate =\t$token;=a", '=a' ]) {
    my ($cookie, $kept) = @$_;
    is($httpd->get('/cookie/x', headers => [ Cookie => $cookie ])->sent('Cookie'), $kept, "the other cookies go on: $kept");
}
is($httpd->get('/cookie/x', headers => [ Cookie => 'a=1', Cookie => "gate=$token", Cookie => 'b=2' ])->sent('Cookie'), 'a=1, b=2', 'several Cookie headers are joined by commas');
refused($httpd->get('/cookie/x', headers => [ Cookie => $_ ]), 401, 'token_missing', 'another name, or none, is another cookie') for "GATE=$token", "=gate=$token", "%67ate=$token", 'gate';
refused($httpd->get("/all/x?gate=$other", token => $token), 400, 'token_ambiguous', 'a header and a parameter of two tokens');
passes($httpd->get("/all/x?gate=$token", headers => [ Authorization => "Bearer $token", Cookie => "gate=$token" ]), 'the same token by three sources is one');
$answer = $httpd->get("/all/x?gate=$token", headers => [ Authorization => "Bearer $token", Cookie => "gate=$token" ]);
unlike(JSON::encode_json($answer->upstream_saw || {}), qr/\Q@{[ substr $token, -30 ]}\E/, 'and is removed from all of them');

# Optional identity
$answer = $httpd->get('/optional/x');
passes($answer, 'where all is granted, no token is needed');
is($answer->sent('X-Forwarded-User'), undef, 'and there is no identity');
$answer = $httpd->get('/optional/x', token => $token);
is($answer->sent('X-Forwarded-User'), 'dana', 'a token that is shown counts');
refused($httpd->get('/optional/x', token => mint(issuer => 'a', mutate => 'flip_sig')), 401, 'signature', 'and a bad one is refused all the same');
for my $own ('Negotiate abc', 'Digest username="x", realm="Basic y"') {
    is($httpd->get('/optional/x', headers => [ Authorization => $own ])->sent('Authorization'), $own, "the upstream's own $own goes on");
}
$answer = $httpd->get('/off/x', token => $token);
is($answer->sent('Authorization'), "Bearer $token", 'AuthType None keeps the gate out');
is($answer->sent('X-Forwarded-User'), undef, 'altogether');

# Nothing of it in the access log (finish() looks for the whole of it): a query token is cut out of the request line.
like($httpd->access_log, qr{"GET /query/x%2Fy\?a=1&b=%2F HTTP}, 'the access log has the request without the token');

# -- a forward proxy: the token is in Proxy-Authorization, and Authorization is for the server behind it
my $forward = httpd("ProxyRequests On\n" . issuer_section('a') . qq(<Proxy "*">\nAuthType Gate\nAuthName x\nRequire valid-user\n</Proxy>\n)
        . qq(<Proxy "*/named/*">\nGateTokenFrom bearer\n</Proxy>\n));
for my $path ('/x', '/named/x') {
    my $to = upstream_base() =~ s/127\.0\.0\.1/localhost/r . $path;
    $answer = $forward->ask('GET', $to);
    refused($answer, 407, 'token_missing', "a forward proxy asks for a token ($path)");
    like($answer->header('Proxy-Authenticate') // '', qr/^Bearer /, 'for Proxy-Authorization');
    refused($forward->ask('GET', $to, token => $token), 407, 'token_missing', 'Authorization is not looked at');
    $answer = $forward->ask('GET', $to, headers => [ 'Proxy-Authorization' => "Bearer $token", Authorization => 'Basic cm9vdDpwYXNz' ]);
    passes($answer, 'Proxy-Authorization is');
    is($answer->sent('Authorization'), 'Basic cm9vdDpwYXNz', "the server's own credential goes on");
    is($answer->sent('Proxy-Authorization'), undef, 'and the token does not');
    passes($forward->ask('GET', $to, headers => [ 'Proxy-Authorization' => basic('x', $token) ]), "Basic's password passes");
}

finish();
