# A credential that no source of GateTokenFrom looks at is said at LogLevel warn, httpd's default: where it is and what
# would read it, never its value. A request without any credential is said at info.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Audit;
use MIME::Base64 qw(encode_base64);

my $basic  = 'Basic ' . encode_base64('dana:S3CRET', '');
my $places = issuer_section('a')
    . gated('/bearer/', 'Require valid-user')
    . gated('/basic/', 'GateTokenFrom basic', 'Require valid-user')
    . gated('/many/', 'GateTokenFrom bearer cookie:gate', 'Require valid-user')
    . gated('/watch/', 'GateMode observe', 'Require valid-user');
my $httpd = httpd($places, log_level => 'warn');

my $number = 0;
for my $case (
    [ 'Basic',                        'bearer', 'no token by bearer: Authorization has the scheme Basic; `GateTokenFrom bearer basic` would look there', Authorization => $basic ],
    [ 'Bearer where Basic is read',   'basic',  'no token by basic: Authorization has the scheme Bearer; `GateTokenFrom basic bearer` would look there', Authorization => 'Bearer S3CRET' ],
    [ 'a scheme of others',           'bearer', 'no token by bearer: Authorization has the scheme Token; no source reads it, wanted Bearer or Basic', Authorization => 'Token S3CRET' ],
    [ 'DPoP',                         'bearer', 'no token by bearer: Authorization has the scheme DPoP; no source reads it, wanted Bearer or Basic', Authorization => 'DPoP S3CRET' ],
    [ 'a token without a scheme',     'bearer', 'no token by bearer: Authorization has no scheme; wanted "Authorization: Bearer TOKEN"', Authorization => 'S3CRET' ],
    [ 'an empty header',              'bearer', 'no token by bearer: Authorization is empty', Authorization => '' ],
    [ "a proxy's",                    'many',   'Proxy-Authorization has the scheme Basic; `GateTokenFrom bearer cookie:gate proxy` would look there', 'Proxy-Authorization' => $basic ],
    [ 'a personal token',             'bearer', 'the header PRIVATE-TOKEN is there; `GateTokenFrom bearer header:PRIVATE-TOKEN` would look there', 'Private-Token' => 'glpat-S3CRET' ],
    [ "a job's token",                'bearer', 'the header JOB-TOKEN is there', 'Job-Token' => 'S3CRET' ],
    [ 'a deploy token',               'bearer', 'the header Deploy-Token is there', 'Deploy-Token' => 'S3CRET' ],
    [ 'a cookie of another place',    'bearer', 'the cookie gate looks like a JWT; `GateTokenFrom bearer cookie:gate` would look there', Cookie => 'a=b; gate=eyJS3CRET.S3CRET.S3CRET' ],
    [ 'where nothing is refused',     'watch',  undef, Authorization => $basic ],
) {
    my ($name, $place, $wanted, @headers) = @$case;
    my $path   = "/$place/" . ++$number;
    my $answer = $httpd->get($path, headers => \@headers);
    next if !defined $wanted && passes($answer, "$name: the request goes on");
    refused($answer, 401, 'token_missing', "$name is no token");
    my $id = $answer->header('X-Gate-Request');
    ok($httpd->wait_for_log(qr/\[gitlab_gate:warn\].*GATE401: refused: token_missing: .*\Q$wanted\E.* \(request \Q$id\E\)/, 5), "$name: is said at warn")
        or diag(join "\n", grep { /\Q$id\E/ } split /\n/, $httpd->error_log);
    my ($line) = Gate::Audit::wait_for($httpd->dir . '/audit.log', 1, sub { ($_[0]{http}{request}{id} // '') eq $id });
    like($line->{message}, qr/\Q$wanted\E/, "$name: and in the audit log");
}
my $answer = $httpd->get('/bearer/q?private_token=S3CRET');
refused($answer, 401, 'token_missing', 'a parameter is no token');
ok($httpd->wait_for_log(qr/the query has the parameter private_token; `GateTokenFrom bearer query:private_token` would look there/, 5), 'and is said');
unlike($httpd->error_log, qr/S3CRET/, 'no value is in the error log');
unlike(Gate::Audit::text($httpd->dir . '/audit.log'), qr/S3CRET/, 'nor in the audit log');

my $quiet = httpd($places);
refused($quiet->get('/bearer/x', headers => [ Cookie => 'theme=dark', Accept => '*/*' ]), 401, 'token_missing', 'no credential at all');
ok($quiet->wait_for_log(qr/\[gitlab_gate:info\].*GATE401: refused: token_missing: no token was sent/, 5), 'is said at info');

expect_in_log(qr/GATE401: refused: token_missing/, qr/GATE202/);
finish();
