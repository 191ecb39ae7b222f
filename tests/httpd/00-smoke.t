# The main job, with httpd-test.conf as it stands at the top of the project.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;

my $httpd = Gate::Httpd->start_example("$FindBin::RealBin/../../httpd-test.conf", issuer_base(), upstream_base());

my %ci = (issuer => 'gitlab', shape => 'gitlab', claims => { aud => 'https://gate.example.com' });
my $answer = $httpd->get('/api/v4/projects/shop%2Forders?x=%2F', token => mint(%ci));
passes($answer, 'a CI token passes');
is($answer->sent('X-Forwarded-User'), 'dana', 'the upstream gets the person behind the pipeline');
is($answer->sent('X-Forwarded-Email'), 'dana@example.com', 'her address');
is($answer->sent('X-Forwarded-Groups'), 'deployer', 'her roles');
is($answer->sent('X-Gate-Issuer'), 'gitlab-ci', 'the issuer');
is($answer->sent('X-Gate-Project'), 'shop/orders', 'the project');
is($answer->sent('X-Gate-Ref'), 'main', 'the ref');
is($answer->sent('X-Gate-Pipeline'), '574', 'the pipeline');
is($answer->sent('X-Gate-Job'), '302', 'the job');
is($answer->sent('Authorization'), undef, 'the token goes no further');
is($answer->target, '/api/v4/projects/shop%2Forders?x=%2F', 'the target arrives as it was written');

my %person = (issuer => 'okta', shape => 'okta', claims => { aud => 'https://gate.example.com' });
$answer = $httpd->get('/people', token => mint(%person));
passes($answer, "a person's token passes");
is($answer->sent('X-Forwarded-User'), 'dana@example.com', 'the upstream gets the person');

$answer = $httpd->get('/api/v4/user', token => mint(%ci), headers => [ 'X-Forwarded-User' => 'root', 'X_Forwarded_User' => 'root' ]);
is($answer->sent('X-Forwarded-User'), 'dana', 'a spoofed header does not reach the upstream');
is($answer->sent('X_Forwarded_User'), undef, 'nor with underscores');

refused($httpd->get('/api/v4/user'), 401, 'token_missing', 'no token is refused');
refused($httpd->get('/api/v4/user', token => mint(%ci, exp_in => -60, iat_in => -360, nbf_in => -360)), 401, 'expired', 'an expired token is refused');
refused($httpd->get('/api/v4/user', token => mint(%ci, claims => { %{ $ci{claims} }, ref => 'feature', ref_protected => 'false' })), 403, 'role', 'a wrong role is refused');
refused($httpd->get('/api/v4/user', token => mint(%person)), 401, 'issuer_not_accepted', "a person's token is refused where CI jobs are asked for");

finish();
