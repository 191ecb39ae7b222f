# A wrong configuration refuses to start, and says which directive on which line.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use File::Temp ();
use POSIX ();

# What an issuer needs, in lines 2 and 3 of the text.
my $url = 'GateIssuerURL https://issuer.example.com';
my $aud = 'GateAudience gate';

sub section { return join("\n", '<GateIssuer a>', @_, '</GateIssuer>', '') }
my $issuer = section($url, $aud);                                     # 4 lines
sub ci { return section($url, $aud, 'GateKind gitlab', "GateJobAPI $_[0]") }   # 6 lines
sub in_port { return join("\n", '<GatePort db:1>', 'AuthType Gate', 'Require valid-user', @_, '</GatePort>', '') }
my $api = 'https://gitlab.example.com/api/v4';
sub in_location { return $issuer . join("\n", '<Location "/">', 'AuthType Gate', @_, '</Location>', '') }   # 7th: first of @_

my $files = File::Temp->newdir('gate-config-XXXXXX', TMPDIR => 1);
my ($rubbish, $pipe, $no_keys) = map { "$files/$_" } qw(ca.pem pipe keys.json);
Gate::Httpd::spew($rubbish, "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n");
Gate::Httpd::spew($no_keys, '{"keys":[]}');
chmod 0755, $files;
POSIX::mkfifo($pipe, 0644) or die $!;

# A URL is judged with the whole section, since GateJWKS makes any text a good issuer.
my $at = qr/[12]/;

# [what is wrong, the text, the directive that the message names, its line]
my @wrong = (
    [ 'an issuer without URL',               section($aud),                                 'GateIssuerURL',     undef ],
    [ 'an issuer without audience',          section($url),                                 'GateAudience',      undef ],
    [ 'an issuer without name',              "<GateIssuer>\n$url\n$aud\n</GateIssuer>\n",   'GateIssuer',        1 ],
    [ 'two issuers of one name',             $issuer . $issuer,                             'GateIssuer',        5 ],
    [ 'an unknown kind',                     section($url, $aud, 'GateKind gitea'),         'GateKind',          4 ],
    [ 'an issuer by http far away',          section('GateIssuerURL http://issuer.example.com', $aud), 'GateIssuerURL', $at ],
    [ 'an issuer by http at a name like localhost', section('GateIssuerURL http://localhost.example.com', $aud), 'GateIssuerURL', $at ],
    [ 'an issuer by http with a loopback user part', section('GateIssuerURL http://127.0.0.1@example.com', $aud), 'GateIssuerURL', $at ],
    [ 'an issuer by ftp',                    section('GateIssuerURL ftp://issuer.example.com', $aud), 'GateIssuerURL', $at ],
    [ 'an issuer that is no URL',            section('GateIssuerURL issuer.example.com', $aud), 'GateIssuerURL',  $at ],
    [ 'an empty issuer',                     section('GateIssuerURL ""', $aud),             'GateIssuerURL',     2 ],
    [ 'a tenant in another kind',            section('GateIssuerURL https://login.example.com/{tenantid}/v2.0', $aud, 'GateRequire tid=x'), 'GateIssuerURL', undef ],
    [ 'a tenant without a rule on tid',      section('GateIssuerURL https://login.example.com/{tenantid}/v2.0', $aud, 'GateKind entra'), 'tid', undef ],
    [ 'a tenant with a rule that only excludes', section('GateIssuerURL https://login.example.com/{tenantid}/v2.0', $aud, 'GateKind entra', 'GateRequire tid!=x'), 'tid', undef ],
    (map { [ "a tenant by $_, which fits everybody's", section('GateIssuerURL https://login.example.com/{tenantid}/v2.0', $aud, 'GateKind entra', "GateRequire $_"), 'tid', undef ] }
        'tid~.*', 'tid*=**', 'tid~[0-9a-f-]+', 'tid='),
    [ 'a misspelt tenant',                   section('GateIssuerURL https://login.example.com/{TenantId}/v2.0', $aud, 'GateKind entra', 'GateRequire tid=x'), 'GateIssuerURL', $at ],
    [ 'no audience named',                   section($url, 'GateAudience'),                 'GateAudience',      3 ],
    [ 'an empty audience',                   section($url, 'GateAudience ""'),              'GateAudience',      3 ],
    [ 'keys by http far away',               section($url, $aud, 'GateJWKS http://keys.example.com/jwks'), 'GateJWKS', 4 ],
    [ 'keys from nowhere',                   section($url, $aud, 'GateJWKS ldap://keys'),   'GateJWKS',          4 ],
    [ 'an HMAC algorithm',                   section($url, $aud, 'GateAlgorithms HS256'),   'GateAlgorithms',    4 ],
    [ 'the algorithm none',                  section($url, $aud, 'GateAlgorithms RS256 none'), 'GateAlgorithms', 4 ],
    [ 'an algorithm that is not there',      section($url, $aud, 'GateAlgorithms ES512'),   'GateAlgorithms',    4 ],
    [ 'an algorithm in small letters',       section($url, $aud, 'GateAlgorithms rs256'),   'GateAlgorithms',    4 ],
    [ 'a role without conditions',           section($url, $aud, 'GateRole developer'),     'GateRole',          4 ],
    [ 'a condition without operator',        section($url, $aud, 'GateRole developer groups'), 'GateRole',       4 ],
    [ 'a condition without claim',           section($url, $aud, 'GateRole developer =x'),  'GateRole',          4 ],
    [ 'a broken regular expression',         section($url, $aud, 'GateRole developer "groups~(a"'), 'GateRole',  4 ],
    [ 'a regular expression that looks back', section($url, $aud, 'GateRole developer "groups~(a)\\\\1"'), 'GateRole', 4 ],
    (map { [ "a condition $_",               section($url, $aud, "GateRole developer $_"),  'GateRole',          4 ] } qw(a==b a>=5 a<=5 a!~b a=~b a!==b)),
    (map { [ "a condition with a blank, '$_'", section($url, $aud, qq(GateRole developer "$_")), 'GateRole',         4 ] } 'sub = x', 'sub =x', 'sub= x', ' sub=x', 'sub !=x', 'sub~ x'),
    [ 'a rule with a blank',                 in_location('Require not gate-claim "sub = x"'), 'gate-claim',      7 ],
    [ 'a condition that is not UTF-8',       section($url, $aud, "GateRole developer a=\xff"), 'GateRole',      4 ],
    [ 'an audience that is not UTF-8',       section($url, "GateAudience \xff"),            'GateAudience',      3 ],
    [ 'a broken requirement',                section($url, $aud, 'GateRequire groups'),     'GateRequire',       4 ],
    [ 'a claim path with a hole',            section($url, $aud, 'GateUserClaim a..b'),     'GateUserClaim',     4 ],
    [ 'a JSON pointer with a broken escape', section($url, $aud, 'GateUserClaim /a~2'),     'GateUserClaim',     4 ],
    [ 'no claim for the user',               section($url, $aud, 'GateUserClaim'),          'GateUserClaim',     4 ],
    (map { [ "a $_ that is no duration",     section($url, $aud, "$_ 5x"),                  $_,                  4 ] }
        qw(GateMaxLifetime GateClockSkew GateRefresh GateMaxStale GateTimeout)),
    [ 'a leeway beyond an hour',             section($url, $aud, 'GateClockSkew 61m'),      'GateClockSkew',     4 ],
    (map { [ "an audit log's key that is $_", "GateAuditLog /tmp/none\nGateAuditChainKey file:$_\n", 'GateAuditChainKey', 2 ] } $pipe, '/dev/zero'),
    [ "an assertion's key that is a pipe",   "GateAssertionKey $pipe\n",                  'GateAssertionKey',  1 ],
    [ 'a cache beyond all memory',           "GateCacheSize 99999G\n",                      'GateCacheSize',     1 ],
    [ 'kept headers by a star',              "GateKeepHeader Gitlab-Workhorse-*\n",         'GateKeepHeader',    1 ],
    [ 'a negative duration',                 section($url, $aud, 'GateRefresh -5'),         'GateRefresh',       4 ],
    [ 'a broken number in a duration',       section($url, $aud, 'GateRefresh 1.5h'),       'GateRefresh',       4 ],
    [ 'a duration beyond all time',          section($url, $aud, 'GateMaxStale 99999999999999999999d'), 'GateMaxStale', 4 ],
    [ 'an empty duration',                   section($url, $aud, 'GateRefresh ""'),         'GateRefresh',       4 ],
    [ 'a CA file that is not there',         section($url, $aud, 'GateCAFile /nonexistent/ca.pem'), 'GateCAFile', 4 ],
    [ 'a CA file of rubbish',                section($url, $aud, "GateCAFile $rubbish"),    'GateCAFile',        4 ],
    [ 'keys in a pipe',                      section($url, $aud, "GateJWKS file:$pipe"),    'GateJWKS',          4 ],
    [ 'a CA file without certificates',      section($url, $aud, 'GateCAFile /etc/hostname'), 'GateCAFile',      4 ],
    [ 'a misspelt directive in an issuer',   section($url, $aud, 'GateAudiance gate'),      'GateAudiance',      4 ],
    [ 'an issuer that is not closed',        "<GateIssuer a>\n$url\n$aud\n",                'GateIssuer',        undef ],
    [ 'an issuer in a location',             "<Location />\n<GateIssuer a>\n$url\n$aud\n</GateIssuer>\n</Location>\n", 'GateIssuer', 2 ],
    [ "an issuer's directive outside",       "$url\n",                                      'GateIssuerURL',     1 ],
    [ 'the state directory in a location',   in_location('GateStateDir state'),             'GateStateDir',      7 ],
    [ 'no state directory',                  "GateStateDir \"\"\n",                         'GateStateDir',      1 ],
    [ 'a kept header in a location',         in_location('GateKeepHeader Geo-GL-Id'),       'GateKeepHeader',    7 ],
    (map { [ "$_->[1] for some methods alone", in_location($_->[0], $_->[1], $_->[0] =~ s{<(\w+).*}{</$1>}r), $_->[1] =~ s/ .*//r, 8 ] }
        [ '<Limit POST>', 'GateMode observe' ], [ '<LimitExcept GET>', 'GateAccept a' ], [ '<Limit POST>', 'GateHeader X-Who user' ],
        [ '<Limit POST>', 'GateAuditOn none' ], [ '<Limit POST>', 'GateForwardToken on' ]),
    [ 'an issuer accepted that is not there', in_location('GateAccept b'),                  'GateAccept',        7 ],
    [ 'no issuer accepted',                  in_location('GateAccept'),                     'GateAccept',        7 ],
    [ 'an unknown source',                   in_location('GateTokenFrom body'),             'GateTokenFrom',     7 ],
    [ 'no source',                           in_location('GateTokenFrom'),                  'GateTokenFrom',     7 ],
    [ 'a header source without name',        in_location('GateTokenFrom header:'),          'GateTokenFrom',     7 ],
    [ 'a header source with a bad name',     in_location('GateTokenFrom "header:X Token"'), 'GateTokenFrom',     7 ],
    [ 'a header source that no client may send', in_location('GateTokenFrom header:x_forwarded_user'), 'GateTokenFrom', 7 ],
    [ "a header source of GitLab's own",     in_location('GateTokenFrom header:Gitlab-Workhorse-X'), 'GateTokenFrom', 7 ],
    [ 'a header source that the gate sends', in_location('GateTokenFrom header:X-Login', 'GateHeader X-Login user'), 'GateHeader X-Login (line 8 ', 7 ],
    [ 'a cookie source without name',        in_location('GateTokenFrom cookie:'),          'GateTokenFrom',     7 ],
    [ 'a query source without name',         in_location('GateTokenFrom query:'),           'GateTokenFrom',     7 ],
    [ 'a header with a bad name',            in_location('GateHeader "X User" user'),       'GateHeader',        7 ],
    [ 'a header with a line break',          in_location("GateHeader X-User:\tX user"),     'GateHeader',        7 ],
    [ 'a header of an unknown value',        in_location('GateHeader X-User person'),       'GateHeader',        7 ],
    [ 'a header of no claim',                in_location('GateHeader X-User claim:'),       'GateHeader',        7 ],
    [ 'a header without value',              in_location('GateHeader X-User'),              'GateHeader',        7 ],
    [ 'a switch that is neither on nor off', in_location('GateForwardToken maybe'),         'GateForwardToken',  7 ],
    [ 'an expression on a broken path',      in_location(q(Require expr "gate_claim('a..b') != 'x'")), 'gate_claim', 7 ],
    [ 'a list in an expression on a broken path', in_location(q(Require expr "'x' in gate_claims('/a~2')")), 'gate_claims', 7 ],
    [ 'a rule on a broken condition',        in_location('Require gate-claim groups'),      'gate-claim',        7 ],
    [ 'a rule that is not UTF-8',            in_location("Require gate-claim dept!=F\xfchrung"), 'gate-claim',   7 ],
    [ 'a rule on a role that is not UTF-8',  in_location("Require not gate-role F\xfchrung"), 'gate-role',       7 ],
    [ 'an expression on a claim that is not UTF-8', in_location(qq(Require expr "gate_claim('\xfc') != 'x'")), 'UTF-8', 7 ],
    [ 'a rule on no condition',              in_location('Require gate-claim'),             'gate-claim',        7 ],
    [ 'a rule on no role',                   in_location('Require gate-role'),              'gate-role',         7 ],
    [ 'a rule on no issuer',                 in_location('Require gate-issuer'),            'gate-issuer',       7 ],
    [ 'a rule on an issuer that is not there', in_location('Require gate-issuer b'),        'gate-issuer',       7 ],
    [ 'a job that nobody can be asked about', ci($api) . ($issuer =~ s/GateIssuer a/GateIssuer b/r) . in_port('GateAccept b', 'GateJob on'), 'GateAccept b', 15 ],
    [ "a job API's option twice",            ci("$api every=1s every=2s"),                  'every=',            5 ],
    [ "a job API's token in a directory",    ci("$api token-file=/etc"),                    'token-file',        5 ],
    [ "an upstream token's option twice",    in_location('GateUpstreamToken file:/x header=A header=B'), 'header=', 7 ],
    [ "an assertion's option twice",         in_location('GateAssertion on ttl=5s ttl=6s'), 'ttl=',              7 ],
    (map { [ "an assertion as $_",           in_location("GateAssertion on header=$_"),     "header=$_",         7 ] }
        qw(Content-Type If-Match Accept Range Host X-Forwarded-For X-Forwarded-User PRIVATE-TOKEN Authorization Sudo)),
    (map { [ "an upstream token as $_",      in_location("GateUpstreamToken file:/x header=$_"), "header=$_",    7 ] }
        qw(Content-Type Host X-Gate-Subject Sudo)),
    (map { [ "an identity header as $_",     in_location("GateHeader $_ user"),             "GateHeader $_",     7 ] }
        qw(Sudo PRIVATE-TOKEN JOB-TOKEN Authorization Cookie Host content-type Range X-Forwarded-For If-Match Accept-Language)),
    (map { [ "a header source as $_",        in_location("GateTokenFrom header:$_"),        "header:$_",         7 ] } qw(Content-Type Range X-Forwarded-For Sudo Host)),
    (map { [ "<$_> in a port",               $issuer . in_port("<$_ x>\n</$_>"),            "<$_>",              8 ] } qw(If ElseIf Files FilesMatch)),
    [ '<If> deep in a port',                 $issuer . in_port("<RequireAll>\n<If true>\n</If>\n</RequireAll>"), '<If>', 9 ],
);
# [what is wrong, the text, what to write instead, the line]
my $role = 'GateRole dev';
my $entra = "GateKind entra\nGateRequire tid=x";
my $microsoft = 'https://login.microsoftonline.com';
my @instead = (
    [ 'a claim that is a URL',               section($url, $aud, "$role https://x.example/roles=a"), 'write the JSON pointer /https:~1~1x.example~1roles', 4 ],
    [ 'a pointer that is a URL',             section($url, $aud, "$role /https://x.example/roles=a"), 'write the JSON pointer /https:~1~1x.example~1roles', 4 ],
    [ 'a user claim that is a URL',          section($url, $aud, 'GateUserClaim https://x.example/user'), 'write the JSON pointer /https:~1~1x.example~1user', 4 ],
    [ 'a role claim that is a URL',          section($url, $aud, 'GateRoleClaim http://x/r'),  'write the JSON pointer /http:~1~1x~1r', 4 ],
    [ 'a header of a claim that is a URL',   in_location('GateHeader X-A claim:https://x/a'),  'write the JSON pointer /https:~1~1x~1a', 7 ],
    [ 'a rule on a claim that is a URL',     in_location('Require gate-claim https://x/a=b'),  'write the JSON pointer /https:~1~1x~1a', 7 ],
    [ 'a requirement on a claim that is a URL', section($url, $aud, 'GateRequire https://x/a=b'), 'write the JSON pointer /https:~1~1x~1a', 4 ],
    (map { [ "Entra's $_ as an issuer",      section("GateIssuerURL $microsoft/$_/v2.0", $aud, $entra), "GateIssuerURL $microsoft/{tenantid}/v2.0", 2 ] } qw(common organizations consumers Common)),
    [ "Entra's common of another cloud",     section('GateIssuerURL https://login.microsoftonline.us/common/v2.0', $aud), 'write GateKind entra, GateIssuerURL https://login.microsoftonline.us/{tenantid}/v2.0', 2 ],
    [ "Entra's common with its keys",        section("GateIssuerURL https://sts.windows.net/common/", $aud, $entra, "GateJWKS $microsoft/common/discovery/keys"), 'GateIssuerURL https://sts.windows.net/{tenantid}/', 2 ],
    [ 'a discovery document as an issuer',   section('GateIssuerURL https://x.example/a/.well-known/openid-configuration', $aud), 'write GateIssuerURL https://x.example/a', 2 ],
    [ 'with a slash',                        section('GateIssuerURL https://x.example/.well-known/openid-configuration/', $aud), 'write GateIssuerURL https://x.example', 2 ],
    [ "OAuth's metadata as an issuer",       section('GateIssuerURL https://x.example/.well-known/oauth-authorization-server', $aud, 'GateJWKS https://x.example/jwks'), 'write GateIssuerURL https://x.example', 2 ],
    (map { [ "a condition with blanks ($_)", section($url, $aud, "$role $_"),                  "write it without blanks: roles=developer", 4 ] } 'roles = developer', 'roles= developer', 'a=b roles =developer'),
    [ 'a condition with blanks in quotes',   section($url, $aud, qq($role "roles = developer")), 'write it without blanks', 4 ],
    [ 'a requirement with blanks',           section($url, $aud, 'GateRequire a != b'),        'write it without blanks: a!=b', 4 ],
    [ 'a rule with blanks',                  in_location('Require gate-claim roles ~ dev.*'),  'write it without blanks: roles~dev.*', 7 ],
    [ 'GateAudiance',                        section($url, 'GateAudiance gate'),               'did you mean GateAudience? GateAudiance', 3 ],
    [ 'GateIssuerUri',                       section('GateIssuerUri https://x.example', $aud), 'did you mean GateIssuerURL?', 2 ],
    [ 'an unknown kind',                     section($url, $aud, 'GateKind keyclok'),          'did you mean keycloak?', 4 ],
    [ 'an unknown source',                   in_location('GateTokenFrom bearrer'),             'did you mean bearer?', 7 ],
    [ 'an unknown issuer',                   $issuer =~ s/GateIssuer a/GateIssuer okta/r . "<Location />\nAuthType Gate\nGateAccept oktta\nRequire valid-user\n</Location>\n", 'did you mean okta?', 7 ],
);
for my $case (@instead) {
    my ($name, $config, $instead, $line) = @$case;
    my ($status, $output) = configtest($config);
    isnt($status, 0, "$name refuses to start");
    like($output, qr/\Q$instead\E/, "and the message says what to write");
    like($output, qr/\bline $line of /, 'and the line');
}

for my $case (@wrong) {
    my ($name, $config, $directive, $line) = @$case;
    subtest "$name refuses to start" => sub {
        my ($status, $output) = configtest($config);
        isnt($status, 0, 'httpd -t fails') or diag($config);
        like($output, qr/\Q$directive\E/, 'and names the directive');
        $line //= qr/\d+/;
        like($output, qr/\bline $line of /, 'and its line');
    };
}

# Right ones, so that the list above does not pass for another reason.
for my $case (
    [ 'the shortest issuer',       $issuer ],
    [ 'a claim whose name is a URL, by pointer', section($url, $aud, 'GateRole r /https:~1~1x.example~1roles=a') ],
    [ 'a tenant that is named twice',  section('GateIssuerURL https://login.example.com/{tenantid}/v2.0/{tenantid}', $aud, 'GateKind entra', 'GateRequire tid=a') ],
    [ 'EdDSA by its other name',       section($url, $aud, 'GateAlgorithms Ed25519 RS256') ],
    [ 'a realm of that name',          section('GateIssuerURL https://kc.example.com/common', $aud, 'GateKind keycloak') ],
    [ 'an issuer on loopback',     section('GateIssuerURL http://127.1.2.3:8080/x', $aud) ],
    [ 'an issuer on IPv6 loopback', section('GateIssuerURL http://[::1]:8080/x', $aud) ],
    [ 'an issuer at localhost',    section('GateIssuerURL http://localhost:8080/x', $aud) ],
    [ 'every kind',                join '', map { "<GateIssuer $_>\nGateIssuerURL https://$_.example.com\n$aud\nGateKind $_\n</GateIssuer>\n" }
            qw(generic okta entra keycloak gitlab aws google) ],
    [ 'every algorithm',           section($url, $aud, 'GateAlgorithms RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 EdDSA') ],
    [ 'every condition',           section($url, $aud, 'GateRole r a=b "a.b!=c" "/https:~1~1x.com~1roles~^x.*$" "ref*=release/**"', 'GateRequire a=b c=d') ],
    [ 'every way to write a time', section($url, $aud, 'GateMaxLifetime 300', 'GateClockSkew 300s', 'GateRefresh 5m', 'GateMaxStale 7d', 'GateTimeout 7') ],
    [ 'the largest leeway and cache', "GateCacheSize 8G\n" . section($url, $aud, 'GateClockSkew 1h') ],
    [ 'a value with a blank in it', section($url, $aud, 'GateRole r "name=Dana Doe"') ],
    [ 'a lifetime without end',    section($url, $aud, 'GateMaxLifetime off') ],
    [ 'one of two tenants',        section('GateIssuerURL https://login.example.com/{tenantid}/v2.0', $aud, 'GateKind entra', 'GateRequire tid~(a|b)') ],
    [ 'a tenant that is named',           section('GateIssuerURL https://login.example.com/{tenantid}/v2.0', $aud, 'GateKind entra', 'GateRequire tid=a') ],
    [ 'every source',              in_location('GateTokenFrom bearer basic proxy header:X-Token cookie:token query:token', 'Require valid-user') ],
    [ 'a header source that GateKeepHeader lets in', "GateKeepHeader Gitlab-Kas-X\n" . in_location('GateTokenFrom header:Gitlab-Kas-X', 'Require valid-user') ],
    [ 'identity headers as upstreams want them', in_location((map { "GateHeader $_ user" } qw(Remote-User X-WEBAUTH-USER X-Remote-User X-Forwarded-User X-Real-User)), 'GateHeader Remote-Groups roles', 'Require valid-user') ],
    [ "GitLab's own headers as sources", in_location('GateTokenFrom header:PRIVATE-TOKEN header:JOB-TOKEN', 'Require valid-user') ],
    [ 'every header',              in_location((map { "GateHeader X-$_ $_" } qw(user email subject issuer roles none)), 'GateHeader X-C claim:a.b', 'Require valid-user') ],
    [ 'an assertion as X-Gate-Assertion', in_location('GateAssertion off header=X-Gate-Assertion', 'Require valid-user') ],
    [ 'a job that one of the accepted can be asked about', ci($api) . in_port('GateAccept a', 'GateJob on') ],
    [ 'every rule',                in_location('GateAccept a', 'Require gate-role x y', 'Require gate-claim a=b', 'Require gate-issuer a') ],
) {
    my ($name, $config) = @$case;
    my ($status, $output) = configtest($config);
    is($status, 0, "$name is accepted") or diag($output);
}

# Without them no Require is asked.
for my $module (qw(authz_core authn_core)) {
    my ($status, $output) = configtest(in_location(), lacks => [ $module, qw(authz_host authz_user) ]);
    isnt($status, 0, "without mod_$module httpd does not start");
    like($output, qr/AuthType Gate .*needs mod_authn_core and mod_authz_core/, 'and says which modules are needed');
}

# What is allowed, but only with a warning at start-up.
my $dir   = File::Temp->newdir('gate-config-XXXXXX', TMPDIR => 1);
chmod 0755, $dir;
my $lines = Gate::Httpd::spew("$dir/token", "one\ntwo\n");
my $exposed = Gate::Httpd::spew("$dir/exposed.json", '{"keys":[]}');
my $trusted = "$dir/exposed.pem";
system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout /dev/null -out $trusted 2>/dev/null") == 0 or die 'openssl';
chmod 0666, $exposed, $trusted;
for my $case (
    [ 'an audience check that is off', issuer_section('a', 'GateAudience any'),                                  qr/\[\S*:warn\].*audience/i ],
    [ 'a port that is only observed', issuer_section('a') . in_port('GateMode observe'),                                      qr/\[\S*:warn\].*GATE202.*does not hold for ports/ ],
    [ 'a header for a port',          issuer_section('a') . in_port('GateHeader X-Login user'),                                qr/\[\S*:warn\].*GATE223: GateHeader \(line \d+ of \S+\) has no effect in <GatePort>/ ],
    [ 'a job that nothing closes',    issuer_section('a', 'GateKind gitlab', "GateJobAPI $api") . gated('/', 'GateJob on', 'Require valid-user'),                    qr/\[\S*:warn\].*GATE224: GateJob \(line \d+ of \S+\) has no effect here/ ],
    [ "a job API's token that is none", issuer_section('a', 'GateKind gitlab', "GateJobAPI $api token-file=$lines"), qr/GATE704: GateJobAPI token-file=\S+: it holds more than one line/ ],
    [ 'published keys that are not there', "<Location /jwks>\nSetHandler gate-jwks\n</Location>\n",               qr/\[\S*:warn\].*GATE209/ ],
    [ 'a refresh that is too late',    issuer_section('a', 'GateRefresh 24h'),                                   qr/\[\S*:warn\].*GATE210: .*43200 s and not 86400 s/ ],
    [ 'keys that everybody may write', issuer_section('a', "GateJWKS file:$exposed"),                            qr/\[\S*:warn\].*GATE211: GateJWKS \Q$exposed\E in <GateIssuer a>/ ],
    [ 'trust that everybody may write', issuer_section('a', "GateCAFile $trusted"),                              qr/\[\S*:warn\].*GATE211: GateCAFile \Q$trusted\E in <GateIssuer a>/ ],
    [ 'a file without a key that fits', issuer_section('a', "GateJWKS file:$no_keys"),                          qr/\[\S*:warn\].*GATE207: / ],
    [ 'a gate that lets everybody in', issuer_section('a') . gated('/', 'Require all granted'),                  qr/\[\S*:warn\].*all granted/i ],
    [ 'a gate that lets everybody in, in quotes', issuer_section('a') . gated('/', q(Require "all" granted)),    qr/\[\S*:warn\].*GATE204: / ],
    [ 'a rule where the gate is not in force', issuer_section('a', 'GateRole dev groups=devs') . "<Location /x/>\n<RequireAll>\nRequire all granted\nRequire not gate-role dev\n</RequireAll>\n</Location>\n",
        qr{\[\S*:warn\].*GATE232: Require not gate-role dev in /x/ \(line } ],
    [ 'a port without the gate',      issuer_section('a') . "<GatePort db:1>\nGateTarget 127.0.0.1:1\n</GatePort>\n", qr/\[\S*:warn\].*GATE231: <GatePort db:1> / ],
    [ 'a public place under a gate',   issuer_section('a') . gated('/', 'Require valid-user') . "<Location /pub/>\nRequire all granted\n</Location>\n",
        qr{\[\S*:warn\].*GATE204: AuthType Gate in / \(line \d+ of \S+\) meets only Require all granted, in /pub/ \(line \d+ } ],
    [ 'a gate over files that are open to all', issuer_section('a') . "<IfModule mod_dir.c>\n<Directory \@DIR\@/htdocs>\n<RequireAll>\nRequire all granted\n</RequireAll>\n</Directory>\n</IfModule>\n<Location /files/>\nAuthType Gate\n</Location>\n",
        qr{\[\S*:warn\].*GATE204: AuthType Gate in /files/ \(line \d+ of \S+\) meets only Require all granted, in \S+/htdocs/ \(line \d+ } ],
    [ 'a rule that is never needed', issuer_section('a', 'GateRole admin groups=admins') . gated('/', 'Require all granted', 'Require gate-role admin'),
        qr{\[\S*:warn\].*GATE236: Require all granted in / \(line \d+ of \S+\) lets everybody in, and Require gate-role admin \(line \d+ } ],
    [ 'a rule that is never needed, in <RequireAny>', issuer_section('a', 'GateRole admin groups=admins') . gated('/', '<RequireAny>', 'Require method GET POST', 'Require gate-role admin', '</RequireAny>'),
        qr{\[\S*:warn\].*GATE236: Require method GET POST in / } ],
    [ 'a rule without the gate above a gated section', issuer_section('a', 'GateRole x groups=x') . "<Location />\n<RequireAll>\nRequire all granted\nRequire not gate-role x\n</RequireAll>\n</Location>\n" . gated('/admin/', 'Require gate-role x'),
        qr{\[\S*:warn\].*GATE232: Require not gate-role x in / } ],
    [ 'the status where nobody has to show who they are', "<Location /s>\nSetHandler gate-status\n</Location>\n",
        qr{\[\S*:warn\].*GATE235: SetHandler gate-status in /s \(line \d+ } ],
    [ "a virtual host's issuer named outside of it", gated('/', 'GateAccept b', 'Require gate-issuer b') . "<VirtualHost *:\@PORT\@>\n" . issuer_section('b') . "</VirtualHost>\n", qr/\[\S*:warn\].*GATE206: GateAccept b / ],
) {
    my ($name, $config, $wanted) = @$case;
    my $httpd = httpd($config);
    ok($httpd->wait_for_log($wanted), "$name warns") or diag($httpd->error_log);
    expect_in_log($wanted, qr/GATE206|GATE315/);
}

# -- the state directory: made with all that leads there, and nobody's else is taken
SKIP: {
    skip 'only root gives directories away', 25 if $> != 0;
    my $httpd = httpd("GateStateDir \@DIR\@/one/two/state\n" . issuer_section('a') . gated('/', 'Require valid-user'));
    passes($httpd->get('/', token => mint(issuer => 'a')), 'a state directory whose parents are not there');
    my $dir = $httpd->dir;
    my @modes = map { sprintf '%o', (stat "$dir/$_")[2] & 0777 } qw(one one/two one/two/state);
    is("@modes", '755 755 700', 'is made, and they are');
    my @owners = map { (stat "$dir/$_")[4] } qw(one one/two one/two/state);
    is("@owners", '0 0 ' . getpwnam('www-data'), 'and it alone is the run user\'s');
    ok(scalar(my @kept = glob "$dir/one/two/state/a-*.json"), 'and keeps the keys');
    my ($status, $said) = Gate::Httpd->start_fails('GateStateDir ' . 'x' x 5000 . "\n" . issuer_section('a'));
    isnt($status, 0, 'a state directory that is no path stops httpd');
    like($said, qr/GATE306: GateStateDir: that is no path/, 'is told');
    ($status, $said) = Gate::Httpd->start_fails("GateStateDir .\n" . issuer_section('a'));
    isnt($status, 0, 'ServerRoot for a state directory');
    like($said, qr/GATE305: GateStateDir \S+ is not taken/, 'is told');
    mkdir "$dir/real";
    symlink 'real', "$dir/link";
    for my $link ("$dir/link", "$dir/link/") {
        ($status, $said) = Gate::Httpd->start_fails("GateStateDir $link\n" . issuer_section('a'));
        isnt($status, 0, 'a symbolic link for a state directory');
        like($said, qr/GATE306: GateStateDir \S+ is a symbolic link/, 'is told');
    }
    # a configuration test is content with nothing that a reload would end httpd for
    chmod 0777, "$dir/real";
    for my $case ([ "GateStateDir $dir/link", 306 ], [ "GateStateDir $dir/real", 302 ], [ 'GateStateDir .', 305 ], [ "GateAuditLog $dir/none/audit.log", 600 ], [ "GateAuditLog $dir/real", 600 ]) {
        my ($line, $code) = @$case;
        ($status, $said) = configtest("$line\n" . issuer_section('a'));
        isnt($status, 0, "$line fails in the configuration test");
        like($said, qr/GATE$code: @{[ $line =~ \/^(\w+)\/ ]} /, 'is told');
    }
    my $other = Gate::Httpd->new("GateStateDir .\n" . issuer_section('a'));
    is((stat $other->dir)[4], 0, 'and stays whose it is');
    my $whole = Gate::Httpd->new("GateStateDir \@DIR\@/run\n" . issuer_section('a') . gated('/', 'Require valid-user'));
    ok(eval { $whole->launch; 1 }, 'an empty directory is taken') or diag($@);
    push @Gate::httpds, $whole;
    passes($whole->get('/', token => mint(issuer => 'a')), 'and serves');
}

finish();
