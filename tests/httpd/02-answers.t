# What a refusal looks like, byte for byte: status, challenge, reason, body.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use MIME::Base64 ();

control('set', issuer => 'down', mode => 'error500');
my $httpd = httpd(
    issuer_section('a', 'GateRole developer groups=devs') . issuer_section('down')
        . gated('/role/', 'Require gate-role developer')
        . gated('/claim/', 'Require gate-claim ref=main')
        . gated('/issuer/', 'Require gate-issuer down')
        . gated('/user/', 'Require user somebody')
        . gated('/valid/', 'Require valid-user')
        . gated('/none/')
        . gated('/basic/', 'GateTokenFrom basic', 'Require valid-user')
        . gated('/both/', 'GateTokenFrom bearer basic', 'Require valid-user')
        . gated('/proxy/', 'GateTokenFrom proxy', 'Require valid-user')
        . gated('/two/', 'GateTokenFrom bearer query:token', 'Require valid-user')
        . gated('/forbidden/', 'AuthzSendForbiddenOnFailure On', 'Require gate-role developer')
        . gated('/document/', 'ErrorDocument 401 "the own text of this place"', 'Require valid-user')
        . gated('/accept/', 'GateAccept down', 'Require valid-user')
        . gated('/quoted/', q(AuthName 'Git "Lab"'), 'Require valid-user')
        . gated('/not/', '<RequireAll>', 'Require all granted', '<RequireNone>', 'Require gate-role developer', '</RequireNone>', '</RequireAll>')
);
expect_in_log(qr/GATE233: Require not gate-role developer in \/not\//, qr/down.*(?:500|key|fetch)/i, qr/(?:key|fetch).*down/i);

# All values of a header of the answer, joined as RFC 9110 allows.
sub joined { my ($answer, $name) = @_; return join ', ', $answer->header($name) }
my %good = (issuer => 'a');

my $answer = $httpd->get('/valid/x');
refused($answer, 401, 'token_missing', 'no token is refused');
is(joined($answer, 'WWW-Authenticate'), 'Bearer realm="GitLab"', 'with a plain challenge');
is(joined($httpd->get('/quoted/x'), 'WWW-Authenticate'), q(Bearer realm="Git \"Lab\""), 'quotes of AuthName are escaped once');
refused($httpd->get('/none/x'), 401, 'token_missing', 'a place without Require wants a valid user');

$answer = $httpd->get('/both/x');
is(joined($answer, 'WWW-Authenticate'), 'Bearer realm="GitLab", Basic realm="GitLab"', 'where Basic is a source, it is offered too');
$answer = $httpd->get('/basic/x');
like(joined($answer, 'WWW-Authenticate'), qr/Basic realm="GitLab"/, 'where only Basic is a source, Basic is offered');
$answer = $httpd->get('/proxy/x');
is($answer->status, 401, 'no token in Proxy-Authorization: 401');
is(joined($answer, 'WWW-Authenticate'), 'Bearer realm="GitLab"', 'and since clients send it unasked, the challenge is Bearer');

# 401 for each kind of bad token
for my $case (
    [ 'malformed',      'not-a-token',                                                        'token_malformed' ],
    [ 'expired',        mint(%good, exp_in => -60, iat_in => -100, nbf_in => -100),           'expired' ],
    [ 'bad signature',  mint(%good, mutate => 'flip_sig'),                                    'signature' ],
    [ 'wrong issuer',   mint(issuer => 'elsewhere'),                                          'issuer_unknown' ],
    [ 'wrong audience', mint(%good, claims => { aud => 'other' }),                            'audience' ],
) {
    my ($name, $token, $code) = @$case;
    $answer = $httpd->get('/valid/x', token => $token);
    refused($answer, 401, $code, "$name is refused");
    like(joined($answer, 'WWW-Authenticate'), qr/^Bearer realm="GitLab", error="invalid_token", error_description="[ !#-\[\]-~]+"$/, "$name: the challenge");
}
refused($httpd->get('/accept/x', token => mint(%good)), 401, 'issuer_not_accepted', 'an issuer that is not accepted here is refused');

# Many clients ask for a new password only where Basic is offered; a browser would ask its user for one (SPEC 9).
for my $place ('both', 'basic') {
    for my $case ([ expired => mint(%good, exp_in => -60, iat_in => -100, nbf_in => -100) ], [ token_malformed => 'not-a-token' ], [ audience => mint(%good, claims => { aud => 'other' }) ]) {
        my ($code, $token) = @$case;
        my @credential = (Authorization => 'Basic ' . MIME::Base64::encode_base64("dana:$token", ''));
        $answer = $httpd->get("/$place/x", headers => \@credential);
        refused($answer, 401, $code, "$code by Basic is refused ($place)");
        like(joined($answer, 'WWW-Authenticate'), qr/^Bearer realm="GitLab", error="invalid_token", error_description="[^"]+", Basic realm="GitLab"$/, '... with Basic offered after Bearer');
        $answer = $httpd->get("/$place/x", headers => [ @credential, 'Sec-Fetch-Mode' => 'navigate' ]);
        unlike(joined($answer, 'WWW-Authenticate'), qr/Basic/, '... but not to a browser');
    }
    unlike(joined($httpd->get("/$place/x", headers => [ 'Sec-Fetch-Mode' => 'cors' ]), 'WWW-Authenticate'), qr/Basic/, "nor without a token ($place)");
}

# 403
for my $case ([ 'role', 'role' ], [ 'claim', 'claim' ], [ 'issuer', 'issuer' ], [ 'user', 'rule' ], [ 'forbidden', 'role' ]) {
    my ($place, $code) = @$case;
    $answer = $httpd->get("/$place/x", token => mint(%good));
    refused($answer, 403, $code, "a rule on $place that is not fulfilled is refused");
    is(joined($answer, 'WWW-Authenticate'), 'Bearer realm="GitLab", error="insufficient_scope"', "$place: the challenge");
}
$answer = $httpd->get('/not/x', token => mint(%good, claims => { groups => ['devs'] }));
is($answer->status, 403, 'a role that is excluded is refused');
passes($httpd->get('/not/x', token => mint(%good)), 'and the others are not');

# 400
$answer = $httpd->get('/two/x?token=' . mint(%good, claims => { jti => '1' }), token => mint(%good));
refused($answer, 400, 'token_ambiguous', 'two different tokens are refused');
is(joined($answer, 'WWW-Authenticate'), 'Bearer realm="GitLab", error="invalid_request"', 'the challenge');
my $token = mint(%good);
$answer = $httpd->get('/valid/x', headers => [ Authorization => "Bearer $token", Authorization => "Bearer $token" ]);
refused($answer, 400, 'token_ambiguous', 'two Authorization headers are refused');

# 503
$answer = $httpd->get('/valid/x', token => mint(issuer => 'down'));
refused($answer, 503, 'keys_unavailable', 'keys that could never be had are no fault of the token');
like($answer->header('Retry-After') // '', qr/^\d+$/, 'with Retry-After');
is(joined($answer, 'WWW-Authenticate'), '', 'and without a challenge');

# 500: the tests' own build panics when asked to
$answer = $httpd->get('/valid/x', token => mint(%good), headers => [ 'X-Gate-Test-Panic' => '1' ]);
refused($answer, 500, 'internal', 'a panic in the gate lets nobody through');
is(joined($answer, 'WWW-Authenticate'), '', 'and asks for nothing');
passes($httpd->get('/valid/x', token => mint(%good)), 'and the next request is served') for 1 .. 10;
unlike($httpd->error_log, qr/AH00051|AH00052|exit signal/, 'no child has died of it');
expect_in_log(qr/panic/i, "GATE500: gate_judge failed");

# CONNECT
$answer = $httpd->raw("CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\n\r\n", method => 'CONNECT');
isnt($answer->status, 200, 'CONNECT leads nowhere where there is no port');

# the body
$answer = $httpd->get('/valid/x', headers => [ Accept => 'application/json' ]);
like($answer->header('Content-Type'), qr{^application/json}, 'JSON for who asks for JSON');
my $json = eval { JSON::decode_json($answer->body) };
ok($json, 'that is JSON') or diag($answer->as_string);
like($answer->body, qr/token_missing/, 'and tells the reason');
$answer = $httpd->get('/valid/x', headers => [ Accept => 'text/html' ]);
like($answer->header('Content-Type'), qr{^text/html}, 'HTML for who asks for HTML');
like($answer->body, qr/<html|<!doctype/i, 'that is HTML');
like($httpd->get('/valid/x', headers => [ Accept => 'text/html;q=0.5, application/json' ])->header('Content-Type'), qr{^application/json}, 'and what it prefers counts, not what stands first');
$answer = $httpd->get('/valid/x', headers => [ 'User-Agent' => 'git/2.39', Accept => '*/*' ]);
is($answer->status, 401, 'git is never redirected');
ok(length $answer->body < 2000, 'the body is short');
is($httpd->ask('HEAD', '/valid/x')->status, 401, 'HEAD is refused alike');
$answer = $httpd->get('/document/x');
is($answer->body, 'the own text of this place', 'ErrorDocument stands');
refused($answer, 401, 'token_missing', 'and the reason is still there');
is(joined($answer, 'WWW-Authenticate'), 'Bearer realm="GitLab"', 'and the challenge');

# what a client writes never comes back
my $probe = 'Zm9vPHNjcmlwdD4';
for my $accept ('text/html', 'application/json') {
    $answer = $httpd->get('/valid/x', token => "$probe.$probe.$probe", headers => [ Accept => $accept ]);
    unlike($answer->as_string, qr/$probe/, "no part of the token is in the answer ($accept)");
}

my %ids = map { scalar($_->header('X-Gate-Request')) => 1 } map { $httpd->get('/valid/x') } 1 .. 5;
is(scalar keys %ids, 5, 'each answer has an id of its own');

# The gate's answers must not be kept by a cache for somebody else.
unlike($httpd->get('/valid/x')->header('Cache-Control') // '', qr/public/, 'a refusal is not for public caches');

finish();
