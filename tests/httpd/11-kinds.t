# Each make of issuer on the true shape of its tokens; the fork rule; Entra's tenants and overage.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;

my $tenant = '7a0c5f3e-0000-4000-8000-000000000001';
my $other  = '7a0c5f3e-0000-4000-8000-00000000000f';
my $base   = issuer_base();

# Entra's keys name no alg, and whose tokens they may sign; its issuer names the tenant.
sub entra_key { my ($key, $issuer) = @_; return { key => $key, set => { alg => undef, issuer => $issuer } } }
control('set', issuer => 'entra', jwks => [ entra_key('rs1', "$base/entra/{tenantid}/v2.0"), entra_key('rs2', "$base/entra/$other/v2.0"), { key => 'es1', set => { alg => undef } } ]);

# Rules that keep somebody out by a group, each in its own way.
my @negated = (
    [ 'claim', 'Require not gate-claim groups=bad' ],
    [ 'role', 'Require NOT gate-role banned' ],
    [ 'none', "<RequireNone>\nRequire gate-claim groups=bad\n</RequireNone>" ],
    [ 'none-all', "<RequireNone>\n<RequireAll>\nRequire gate-role banned\nRequire gate-claim tid~.*\n</RequireAll>\n</RequireNone>" ],
    [ 'twice', "<RequireNone>\n<RequireAll>\nRequire valid-user\nRequire not gate-claim groups=ok\n</RequireAll>\n</RequireNone>" ],
    [ 'alias', 'Require not inbad' ],
    [ 'expr', q(Require expr "! ('bad' in gate_claims('groups'))") ],
    [ 'expr-not', q(Require not expr "'banned' in gate_roles('')") ],
    [ 'expr-text', q(Require expr "gate_claim('/groups') != 'bad'") ],
);
# Rules that keep a project's jobs out.
my @unforked = (
    [ 'claim', 'Require not gate-claim project_path=shop/orders' ],
    [ 'role', 'Require not gate-role path' ],
    [ 'none', "<RequireNone>\nRequire gate-claim ref=x project_path=shop/orders\n</RequireNone>" ],
    [ 'expr', q(Require not expr "'path' in gate_roles('')") ],
);
my $httpd = httpd(
    issuer_section('okta', 'GateKind okta', 'GateRole admin groups=gitlab-admins')
        . issuer_section('kc', 'GateKind keycloak', 'GateRole maintainer resource_access.gitlab.roles=maintainer', 'GateRole backend "groups*=/shop/**"')
        . issuer_section('kcgroups', 'GateKind keycloak', 'GateRoleClaim resource_access.gitlab.roles')
        . issuer_section('aws', 'GateKind aws', 'GateRole deployer "sub=arn:aws:iam::123456789012:role/deployer"', 'GateRole shop "/https:~1~1sts.amazonaws.com~1/principal_tags/team=shop"')
        . issuer_section('goo', 'GateKind google', 'GateRequire hd=example.com')
        . issuer_section('gen', 'GateUserClaim login /x~1y.z', 'GateRoleClaim a.b')
        . issuer_section('b2c', 'GateEmailClaim /emails/0')
        . issuer_section('ent', "GateIssuerURL $base/entra/{tenantid}/v2.0", "GateJWKS $base/entra/jwks", 'GateKind entra', "GateRequire tid~$tenant|$other", 'GateRole dev groups=g1', 'GateRole banned groups=bad')
        . issuer_section('ent1', "GateIssuerURL $base/entra1/", "GateJWKS $base/entra1/jwks", 'GateKind entra', 'GateRoleClaim groups')
        . issuer_section('entreq', "GateIssuerURL $base/entreq/", "GateJWKS $base/entreq/jwks", 'GateKind entra', 'GateRequire groups!=bad')
        . issuer_section('gl', 'GateKind gitlab', 'GateRole path project_path=shop/orders', 'GateRole id project_id=20', 'GateRole space namespace_path=shop', 'GateRole spaceid namespace_id=72',
            'GateRole notevil project_path!=evil/orders', 'GateRole glob "project_path*=shop/*"', 'GateRole regex project_path~shop/.*', 'GateRole protected ref_protected=true', 'GateRole runner runner_id=1')
        . issuer_section('glstrict', 'GateKind gitlab', 'GateRequire project_path=shop/orders')
        . gated('/', 'Require valid-user')
        . gated('/path/', 'Require gate-role path')
        . gated('/claim/', 'Require gate-claim project_path=shop/orders')
        . gated('/dev/', 'Require gate-role dev')
        . gated('/groups/', 'Require gate-claim groups=g1')
        . gated('/first/', 'Require gate-claim /groups/0=g1')
        . gated('/app/', 'Require gate-role developer')
        . gated('/ent1/', 'Require gate-role g1')
        . "<AuthzProviderAlias gate-claim inbad groups=bad>\n</AuthzProviderAlias>\n"
        . join('', map { gated("/not/$_->[0]/", '<RequireAll>', 'Require valid-user', $_->[1], '</RequireAll>') } @negated)
        . join('', map { gated("/unforked/$_->[0]/", '<RequireAll>', 'Require valid-user', $_->[1], '</RequireAll>') } @unforked)
        . gated('/either/', 'Require gate-claim groups=g1', 'Require gate-claim tid~.*')
        . gated('/own/', 'GateHeader X-List roles', 'GateHeader X-Tags claim:tags', 'Require valid-user')
);
sub try_shape {
    my ($issuer, $shape, $claims, $place) = @_;
    return $httpd->get($place // '/x', token => mint(issuer => $issuer, shape => $shape, claims => $claims // {}));
}
sub is_who {
    my ($name, $answer, %wanted) = @_;
    passes($answer, "$name passes");
    is($answer->sent($_), $wanted{$_}, "$name: $_") for sort keys %wanted;
}

is_who('Okta', try_shape('okta', 'okta'), 'X-Forwarded-User' => 'dana@example.com', 'X-Forwarded-Email' => 'dana@example.com', 'X-Forwarded-Groups' => 'gitlab-devs', 'X-Gate-Job' => undef);
is_who('Okta, two groups', try_shape('okta', 'okta', { groups => [qw(gitlab-admins x)] }), 'X-Forwarded-Groups' => 'admin,gitlab-admins,x');
is_who('Keycloak', try_shape('kc', 'keycloak'), 'X-Forwarded-User' => 'dana', 'X-Forwarded-Email' => 'dana@example.com', 'X-Forwarded-Groups' => 'maintainer,backend,developer,offline_access');
is($httpd->get('/x', token => mint(issuer => 'b2c', claims => { emails => [ 'dana@b2c.example', 'x@y' ], email => 'other@b2c.example' }))->sent('X-Forwarded-Email'), 'dana@b2c.example', 'GateEmailClaim: an element of an array');
is($httpd->get('/x', token => mint(issuer => 'b2c', claims => { emails => ['dana@b2c.example'], email_verified => 'no' }))->sent('X-Forwarded-Email'), undef, 'GateEmailClaim: not verified');
is_who('Keycloak by client roles', try_shape('kcgroups', 'keycloak'), 'X-Forwarded-Groups' => 'maintainer');
refused(try_shape('kc', 'keycloak', { typ => $_ }), 401, 'type', "Keycloak: typ $_") for qw(ID Refresh bearer Offline);
refused(try_shape('kc', 'keycloak', { typ => undef }), 401, 'type', 'Keycloak: no typ');
refused(try_shape('kc', 'keycloak', { preferred_username => undef }), 401, 'user_missing', 'Keycloak: no user name, and sub does not stand in');
is_who('AWS', try_shape('aws', 'aws'), 'X-Forwarded-User' => 'arn:aws:iam::123456789012:role/deployer', 'X-Forwarded-Groups' => 'deployer,shop', 'X-Forwarded-Email' => undef);
is_who('AWS by ES384', $httpd->get('/x', token => mint(issuer => 'aws', shape => 'aws', alg => 'ES384')), 'X-Forwarded-Groups' => 'deployer,shop');
is_who('AWS with an e-mail claim that the kind does not know', try_shape('aws', 'aws', { email => 'a@b.c' }), 'X-Forwarded-Email' => undef);
is_who('Google', try_shape('goo', 'google'), 'X-Forwarded-User' => 'dana@example.com', 'X-Forwarded-Email' => 'dana@example.com');
for my $value (JSON::false, 'false', undef, 1, 'True') {
    my $shown = defined $value ? (ref $value ? 'false' : "'$value'") : 'missing';
    refused(try_shape('goo', 'google', { email_verified => $value }), 401, 'required_claim', "Google: email_verified $shown");
}
is_who("Google: email_verified as text", try_shape('goo', 'google', { email_verified => 'true' }), 'X-Forwarded-User' => 'dana@example.com');
refused(try_shape('goo', 'google', { hd => undef }), 401, 'required_claim', 'Google: outside of the domain');
is_who('a claim of another name', try_shape('gen', '', { login => 'd', a => { b => [ 'r', 7, JSON::true, undef, ['x'], {} ] } }), 'X-Forwarded-User' => 'd', 'X-Forwarded-Groups' => 'r,7,true');
is_who('a claim by pointer', try_shape('gen', '', { 'x/y.z' => 'p' }), 'X-Forwarded-User' => 'p');
refused(try_shape('gen', '', { login => '', 'x/y.z' => 'p' }), 401, 'user_missing', 'the first that is there counts, be it empty');
is_who('null is not there', try_shape('gen', '', { 'x/y.z' => 'p', a => 'no object' }), 'X-Forwarded-User' => 'p', 'X-Forwarded-Groups' => undef);

# -- GitLab
is_who('GitLab CI', try_shape('gl', 'gitlab'), 'X-Forwarded-User' => 'dana', 'X-Forwarded-Email' => 'dana@example.com', 'X-Gate-Project' => 'shop/orders', 'X-Gate-Ref' => 'main', 'X-Gate-Pipeline' => 574, 'X-Gate-Job' => 302,
    'X-Forwarded-Groups' => 'path,id,space,spaceid,notevil,glob,regex,protected,runner');
refused(try_shape('gl', 'gitlab', { $_ => undef }), 401, 'required_claim', "GitLab: no $_") for qw(job_id pipeline_id);
is_who('GitLab: job_id as a number', try_shape('gl', 'gitlab', { job_id => 302 }), 'X-Gate-Job' => 302);
refused(try_shape('gl', 'gitlab', { user_login => undef }), 401, 'user_missing', 'GitLab: nobody behind the pipeline');
# the fork rule: the source claim and the job claim must both fit
for my $case (
    [ "the parent's pipeline for a fork (GitLab 18.2.2 on)", { job_project_path => 'evil/orders', job_project_id => '66', job_namespace_path => 'evil', job_namespace_id => '66' } ],
    [ "the fork's pipeline with the parent's job claims",      { project_path => 'evil/orders', project_id => '66', namespace_path => 'evil', namespace_id => '66' } ],
) {
    my ($name, $claims) = @$case;
    is_who("the fork rule: $name", try_shape('gl', 'gitlab', $claims), 'X-Forwarded-Groups' => 'protected,runner');
    refused(try_shape('gl', 'gitlab', $claims, '/path/x'), 403, 'role', "$name: no role");
    refused(try_shape('gl', 'gitlab', $claims, '/claim/x'), 403, 'claim', "$name: Require gate-claim");
    refused(try_shape('glstrict', 'gitlab', $claims), 401, 'required_claim', "$name: GateRequire");
    refused(try_shape('gl', 'gitlab', $claims, "/unforked/$_->[0]/x"), 403, $_->[0] =~ /claim|none/ ? 'claim' : 'role', "$name: nor is it let in where the parent is kept out ($_->[0])") for @unforked;
}
for my $way (map { $_->[0] } @unforked) {
    refused(try_shape('gl', 'gitlab', {}, "/unforked/$way/x"), 403, 'rule', "the project is kept out ($way)");
    passes(try_shape('gl', 'gitlab', { map { $_ => 'else/where' } qw(project_path job_project_path) }, "/unforked/$way/x"), "and another passes ($way)");
}
my $old = { map { $_ => undef } qw(job_project_id job_project_path job_namespace_id job_namespace_path) };
passes(try_shape('gl', 'gitlab', $old, '/path/x'), 'an old GitLab, without job claims');
passes(try_shape('gl', 'gitlab', $old, '/claim/x'), 'and by Require gate-claim');
refused(try_shape('gl', 'gitlab', { %$old, project_path => 'evil/orders' }, '/path/x'), 403, 'role', 'an old GitLab, another project');
passes($httpd->get('/path/x', token => mint(issuer => 'gl', shape => 'gitlab', claims => $old, raw_claims => '{$members,"job_project_path":null}')), 'a job claim that is null is not there');
refused(try_shape('gl', 'gitlab', { job_project_path => [] }, '/path/x'), 403, 'role', 'a job claim that is an empty list is there');
refused(try_shape('gl', 'gitlab', { job_project_path => '' }, '/path/x'), 403, 'role', 'and an empty one');
is_who('sub is never parsed', try_shape('gl', 'gitlab', { sub => 'project_path:evil/x:ref_type:branch:ref:main' }), 'X-Gate-Project' => 'shop/orders');
passes($httpd->get('/claim/x', token => mint(issuer => 'gen', claims => { login => 'd', project_path => 'shop/orders', job_project_path => 'x/y' })), 'the fork rule is of the kind gitlab alone');

# -- Entra
sub entra {
    my (%with) = @_;
    my $tid = exists $with{tid} ? delete $with{tid} : $tenant;
    my $iss = delete $with{iss} // "$base/entra/" . ($tid // '') . '/v2.0';
    my $place = delete $with{place} // '/x';
    my %claims = (%{ delete $with{claims} // {} }, tid => $tid, iss => $iss);
    return $httpd->get($place, token => mint(issuer => 'entra', shape => 'entra_v2', key => 'rs1', claims => \%claims, %with));
}
is_who('Entra v2', entra(), 'X-Forwarded-User' => 'dana@example.com', 'X-Forwarded-Groups' => 'developer', 'X-Forwarded-Email' => undef);
passes(entra(place => '/app/x'), 'an app role is a role');
is_who('Entra: an application', entra(claims => { preferred_username => undef }), 'X-Forwarded-User' => '5b1e0c9a-0000-4000-8000-000000000002');
passes(entra(tid => $other), 'another tenant that is named');
refused(entra(tid => '7a0c5f3e-0000-4000-8000-0000000000ff'), 401, 'required_claim', 'a tenant that is not named');
refused(entra(iss => "$base/entra/$other/v2.0"), 401, 'issuer_unknown', 'iss of another tenant than tid');
refused(entra(tid => undef, iss => "$base/entra/$tenant/v2.0"), 401, 'issuer_unknown', 'no tid');
refused(entra(iss => "$base/entra/{tenantid}/v2.0"), 401, 'issuer_unknown', 'the braces themselves');
refused(entra(tid => '{tenantid}'), 401, 'issuer_unknown', 'not even with tid');
refused(entra(tid => "x/../$tenant"), 401, 'issuer_unknown', 'a tid that is a path');
refused(entra(key => 'rs2'), 401, 'signature', "a key that is another tenant's");
passes(entra(key => 'rs2', tid => $other), 'and its own tenant');
passes(entra(alg => 'ES256', key => 'es1'), 'a key that names no issuer');
my $graph = entra(header => { nonce => 'x' }, mutate => 'flip_sig');
refused($graph, 401, 'signature', "a Graph token can't be verified");
ok($httpd->wait_for_log(qr/Microsoft Graph/), 'and the log says so');
is_who('Entra v1', $httpd->get('/x', token => mint(issuer => 'entra1', shape => 'entra_v1', claims => { iss => "$base/entra1/" })), 'X-Forwarded-User' => 'dana@example.com');
refused($httpd->get('/x', token => mint(issuer => 'entra1', shape => 'entra_v1')), 401, 'issuer_unknown', 'the slash at its end counts');
# overage
passes(entra(claims => { groups => ['g1'] }, place => '/dev/x'), 'a group gives a role');
refused(entra(claims => { groups => ['g2'] }, place => '/dev/x'), 403, 'role', 'another group does not');
for my $case ([ '_claim_names', { _claim_names => { groups => 'src1' }, _claim_sources => { src1 => { endpoint => 'https://graph.example.com' } } } ], [ 'hasgroups', { hasgroups => JSON::true } ], [ 'hasgroups as text', { hasgroups => 'true' } ]) {
    my ($name, $claims) = @$case;
    refused(entra(claims => $claims, place => '/dev/x'), 403, 'groups_overage', "overage by $name: a role by groups");
    refused(entra(claims => $claims, place => '/groups/x'), 403, 'groups_overage', "overage by $name: Require gate-claim");
    refused(entra(claims => $claims, place => '/first/x'), 403, 'groups_overage', "overage by $name: one of them by its place");
    passes(entra(claims => $claims, place => '/app/x'), "overage by $name: app roles work");
    passes(entra(claims => $claims), "overage by $name: no rule on groups");
    refused($httpd->get('/ent1/x', token => mint(issuer => 'entra1', shape => 'entra_v1', claims => { %$claims, iss => "$base/entra1/" })), 403, 'groups_overage', "overage by $name: GateRoleClaim groups");
    refused($httpd->get('/x', token => mint(issuer => 'entreq', shape => 'entra_v2', claims => { %$claims, iss => "$base/entreq/" })), 403, 'groups_overage', "overage by $name: GateRequire");
    passes(entra(claims => $claims, place => '/either/x'), "overage by $name: another rule is enough");
    refused(entra(claims => $claims, place => "/not/$_->[0]/x"), 403, 'groups_overage', "overage by $name: a rule that keeps a group out ($_->[0])") for @negated;
}
refused($httpd->get('/x', token => mint(issuer => 'entreq', shape => 'entra_v2', claims => { groups => ['bad'], iss => "$base/entreq/" })), 401, 'required_claim', 'GateRequire on a group that is listed');
for my $way (map { $_->[0] } @negated) {
    passes(entra(claims => { groups => ['ok'] }, place => "/not/$way/x"), "by $way: another group passes");
    refused(entra(claims => { groups => ['bad'] }, place => "/not/$way/x"), 403, $way eq 'twice' ? 'claim' : 'rule', "by $way: the group is kept out");
}
refused(entra(claims => { hasgroups => JSON::false }, place => '/dev/x'), 403, 'role', 'no overage where hasgroups is false');
refused(try_shape('okta', 'okta', { groups => undef, hasgroups => JSON::true }, '/dev/x'), 403, 'role', 'overage is of the kind entra alone');

# -- lists
my $list = $httpd->get('/own/x', token => mint(issuer => 'okta', shape => 'okta', claims => { groups => [ 'a,gitlab-admins', "b\r\nX-Evil: 1", 'c%2C', '' ], tags => [ 'x,y', "t\x{7f}", 5 ] }));
is($list->sent('X-Forwarded-Groups'), 'a%2Cgitlab-admins,b%0D%0AX-Evil: 1,c%252C', 'no name of a group makes a second item');
is($list->sent('X-List'), 'a%2Cgitlab-admins,b%0D%0AX-Evil: 1,c%252C', 'nor under another header');
is($list->sent('X-Tags'), 'x%2Cy,t%7F,5', 'nor in a claim');
is($list->sent('X-Evil'), undef, 'nor a header');

finish();
