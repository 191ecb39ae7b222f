# Tokens that we have not made: a certified OpenID provider's, found by discovery.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use MIME::Base64 qw(encode_base64 decode_base64url);

my $node = $ENV{GATE_NODE} || 'node';
my $home = $ENV{GATE_OIDC} || "$FindBin::RealBin/../.cache/oidc";
my $provider = Gate::Process->start_listening($node, "$home/provider.mjs");
my ($port) = $provider->address =~ /:(\d+)$/;

my $httpd = httpd(
    issuer_section('op', 'GateIssuerURL http://' . $provider->address, 'GateRoleClaim roles', 'GateUserClaim client_id')
        . gated('/', 'Require gate-role developer')
        . gated('/admin/', 'Require gate-role admin')
);

for my $resource (qw(rsa ec)) {
    my $answer = Gate::Client::ask($port, 'POST', '/token',
        headers => [ Authorization => 'Basic ' . encode_base64('ci:ci-secret', ''), 'Content-Type' => 'application/x-www-form-urlencoded' ],
        body => "grant_type=client_credentials&scope=api&resource=urn:gitlab:$resource");
    my $token = JSON::decode_json($answer->body)->{access_token} // '';
    remember($token);
    is(scalar(split /\./, $token), 3, "the provider gives a JWT ($resource)") or diag($answer->as_string);
    like(decode_base64url((split /\./, $token)[0] // ''), qr/"at\+jwt"/, 'which is an access token');
    $answer = $httpd->get('/x', token => $token);
    passes($answer, 'it passes the gate');
    is($answer->sent('X-Forwarded-User'), 'ci', 'with its user');
    is($answer->sent('X-Forwarded-Groups'), 'developer', 'and its roles');
    refused($httpd->get('/admin/x', token => $token), 403, 'role', 'not where another role is wanted');
    my $bad = $token;
    substr($bad, -5, 1) =~ tr/A-Za-z/B-ZAb-za/;
    substr($bad, -5, 1) = 'x' if $bad eq $token;
    refused($httpd->get('/x', token => $bad), 401, 'signature', 'and not with another signature');
}

finish();
$provider->stop;
