# The gate's rules among httpd's own: <RequireAll> and its kin, AuthMerging, methods, expressions, .htaccess.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;

my $issuers = issuer_section('a', 'GateRole dev groups=devs', 'GateRole lead groups=leads') . issuer_section('b', 'GateRole dev sub=bob');
my $httpd = httpd(
    $issuers
        . gated('/all/', '<RequireAll>', 'Require gate-role dev', 'Require gate-claim team=shop', '</RequireAll>')
        . gated('/any/', '<RequireAny>', 'Require gate-role lead', 'Require gate-claim team=shop', '</RequireAny>')
        . gated('/list/', 'Require gate-role lead dev')
        . gated('/claims/', 'Require gate-claim team=shop "ref*=release/*"')
        . gated('/issuer/', 'Require gate-issuer b')
        . gated('/none/', '<RequireAll>', 'Require valid-user', '<RequireNone>', 'Require gate-role lead', '</RequireNone>', '</RequireAll>')
        . gated('/network/', '<RequireAny>', 'Require ip 127.0.0.1', 'Require gate-role dev', '</RequireAny>')
        . gated('/far/', '<RequireAny>', 'Require ip 192.0.2.0/24', 'Require gate-role dev', '</RequireAny>')
        . gated('/both/', '<RequireAll>', 'Require ip 192.0.2.0/24', 'Require gate-role dev', '</RequireAll>')
        . gated('/user/', 'Require user bob carol')
        . gated('/denied/', 'Require all denied')
        . gated('/expr/claim/', q(Require expr "gate_claim('ref') == 'main'"))
        . gated('/expr/joined/', q(Require expr "gate_claim('groups') == 'devs,ops'"))
        . gated('/expr/claims/', q(Require expr "'ops' in gate_claims('groups')"))
        . gated('/expr/roles/', q(Require expr "'dev' in gate_roles('')"))
        . gated('/expr/not/', '<RequireAll>', 'Require valid-user', q(Require expr "gate_claim('ref') != 'main'"), '</RequireAll>')
        . gated('/expr/header/', 'Require valid-user', 'RequestHeader set X-Team "expr=%{gate_claim:team}"')
        . gated('/expr/user/', q(Require expr "%{REMOTE_USER} == 'dana'"))
        . gated('/expr/open/', q(Require expr "gate_claim('ref') == ''"))
        . gated('/if/', q(<If "gate_claim('ref') == 'main'">), 'Require all denied', '</If>', 'Require valid-user')
        . gated('/merge/', 'Require gate-role dev')
        . gated('/merge/off/', 'Require gate-role lead')
        . gated('/merge/and/', 'AuthMerging And', 'Require gate-claim team=shop')
        . gated('/merge/or/', 'AuthMerging Or', 'Require gate-role lead')
        . gated('/merge/inherits/')
        . gated('/except/', '<LimitExcept GET HEAD>', 'Require gate-role dev', '</LimitExcept>')
        . gated('/method/', '<RequireAny>', 'Require method GET HEAD', 'Require gate-role dev', '</RequireAny>')
        . "<Location /merge/off/out/>\n AuthType None\n Require all granted\n</Location>\n"
        . "<Location /lower/>\n AuthType gATE\n AuthName x\n Require valid-user\n ProxyPass " . upstream_base() . "/lower/\n</Location>\n"
        . qq(<Directory "\@DIR\@/htdocs/ht">\n AllowOverride AuthConfig\n</Directory>\n)
        . qq(<Directory "\@DIR\@/htdocs/named">\n AuthType Gate\n AuthName Files\n Require valid-user\n AllowOverride None\n)
        . ' AllowOverrideList Require GateMode GateAccept GateHeader GateTokenFrom GateSudo GateIdle GateIssuerURL'
        . "\n</Directory>\n"
        . qq(<Directory "\@DIR\@/htdocs/gated">\n AuthType Gate\n AuthName Files\n Require gate-role dev\n</Directory>\n),
);
expect_in_log(qr{GATE236: Require method GET HEAD in /method/});
expect_in_log(qr/AH0(?:1630|1629|1617)/, qr/GATE20/);

sub token { my (%claims) = @_; return mint(issuer => delete $claims{issuer} // 'a', claims => \%claims) }
my ($dev, $lead, $nobody, $shop, $devshop) = (token(groups => ['devs']), token(groups => ['leads']), token(), token(team => 'shop'), token(groups => ['devs'], team => 'shop'));

sub try_places {
    my ($place, $rows) = @_;
    for my $row (@$rows) {
        my ($who, $token, $wanted, $code, $method) = @$row;
        my $answer = $httpd->ask($method // 'GET', "/$place/x", token => $token);
        if ($wanted == 200) { passes($answer, "$place: $who passes") }
        else { refused($answer, $wanted, $code, "$place: $who is refused") }
    }
}
try_places('all',      [ [ 'with both', $devshop, 200 ], [ 'with the role alone', $dev, 403, 'claim' ], [ 'with the claim alone', $shop, 403, 'role' ], [ 'without a token', undef, 401, 'token_missing' ] ]);
try_places('any',      [ [ 'with the one', $lead, 200 ], [ 'with the other', $shop, 200 ], [ 'with none', $dev, 403, 'role' ], [ 'without a token', undef, 401, 'token_missing' ] ]);
try_places('list',     [ [ 'with the first role', $lead, 200 ], [ 'with the second', $dev, 200 ], [ 'with none', $shop, 403, 'role' ] ]);
try_places('claims',   [ [ 'with the first claim', $shop, 200 ], [ 'with the second', token(ref => 'release/1'), 200 ], [ 'a slash more', token(ref => 'release/1/x'), 403, 'claim' ] ]);
try_places('issuer',   [ [ 'of that issuer', token(issuer => 'b'), 200 ], [ 'of another', $devshop, 403, 'issuer' ] ]);
try_places('none',     [ [ 'without the role', $dev, 200 ], [ 'with it', $lead, 403, 'rule' ], [ 'without a token', undef, 401, 'token_missing' ] ]);
try_places('network',  [ [ 'the network without a token', undef, 200 ], [ 'with a token', $dev, 200 ], [ 'with a token that has no role', $shop, 200 ], [ 'with a bad token', token(exp => 1), 401, 'expired' ] ]);
try_places('far',      [ [ 'another network without a token', undef, 401, 'token_missing' ], [ 'with a token', $dev, 200 ], [ 'with one without role', $shop, 403, 'role' ] ]);
try_places('both',     [ [ 'from elsewhere, with the role', $dev, 403, 'rule' ] ]);
try_places('user',     [ [ 'the user', token(sub => 'carol'), 200 ], [ 'another', $devshop, 403, 'rule' ], [ 'the user of another case', token(sub => 'Carol'), 403, 'rule' ] ]);
try_places('denied',   [ [ 'everybody', $devshop, 403, 'rule' ] ]);
try_places('expr/claim',  [ [ 'the claim', token(ref => 'main'), 200 ], [ 'another value', token(ref => 'x'), 403, 'rule' ], [ 'without a token', undef, 401, 'token_missing' ] ]);
try_places('expr/joined', [ [ 'an array, joined', token(groups => [qw(devs ops)]), 200 ], [ 'another order', token(groups => [qw(ops devs)]), 403, 'rule' ], [ 'one group that is called so', token(groups => ['devs,ops']), 403, 'rule' ] ]);
try_places('expr/claims', [ [ 'an element', token(groups => [qw(devs ops)]), 200 ], [ 'no such element', $dev, 403, 'rule' ], [ 'an item that holds it', token(groups => ['a,ops']), 403, 'rule' ], [ 'without a token', undef, 401, 'token_missing' ] ]);
for ([ 'a NUL', "\0x" ], [ 'a line feed', "\n" ], [ 'a blank', ' ' ]) {
    my ($what, $end) = @$_;
    refused($httpd->get('/expr/claim/x', token => token(ref => "main$end")), 403, 'rule', "expr/claim: $what at its end is of the text");
    passes($httpd->get('/expr/not/x', token => token(ref => "main$end")), "expr/not: for whoever it keeps out too");
    refused($httpd->get('/expr/claims/x', token => token(groups => ["ops$end"])), 403, 'rule', "expr/claims: $what at an item's end as well");
}
is($httpd->get('/expr/header/x', token => token(team => "blue\r\nX-Gate-Subject: root\r\n"))->sent('X-Team'), 'blue%0D%0AX-Gate-Subject: root%0D%0A', 'a claim put in a header ends no line');
is($httpd->get('/expr/header/x', token => token(team => '50%, blue'))->sent('X-Team'), '50%, blue', 'and is as it came where it is plain');
try_places('expr/roles',  [ [ 'a role', $dev, 200 ], [ 'another', $lead, 403, 'rule' ], [ 'without a token', undef, 401, 'token_missing' ] ]);
try_places('expr/user',   [ [ 'the user', $dev, 200 ], [ 'another', token(sub => 'eve'), 403, 'rule' ], [ 'without a token', undef, 401, 'token_missing' ] ]);
is($httpd->get('/expr/open/x')->status, 200, 'an expression that holds for nobody asks for no token');
try_places('if',       [ [ 'where <If> can not know yet', token(ref => 'main'), 200 ] ]);
try_places('merge',    [ [ 'outside', $dev, 200 ] ]);
try_places('merge/off', [ [ 'the outer role', $dev, 403, 'role' ], [ 'the inner role alone', $lead, 200 ] ]);
try_places('merge/and', [ [ 'the outer role alone', $dev, 403, 'claim' ], [ 'the inner claim alone', $shop, 403, 'role' ], [ 'both', $devshop, 200 ] ]);
try_places('merge/or', [ [ 'the outer role', $dev, 200 ], [ 'the inner role', $lead, 200 ], [ 'none', $shop, 403, 'role' ] ]);
try_places('merge/inherits', [ [ 'the outer role', $dev, 200 ], [ 'none', $shop, 403, 'role' ], [ 'without a token', undef, 401, 'token_missing' ] ]);
try_places('except',   [ [ 'GET without a token', undef, 200 ], [ 'POST without a token', undef, 401, 'token_missing', 'POST' ], [ 'POST with the role', $dev, 200, undef, 'POST' ], [ 'POST without the role', $shop, 403, 'role', 'POST' ], [ 'a method of its own without a token', undef, 401, 'token_missing', 'PROPFIND' ] ]);
try_places('method',   [ [ 'GET without a token', undef, 200 ], [ 'POST without a token', undef, 401, 'token_missing', 'POST' ], [ 'POST with the role', $dev, 200, undef, 'POST' ], [ 'an unknown method', undef, 401, 'token_missing', 'BREW' ] ]);
try_places('lower',    [ [ 'AuthType in any case: without a token', undef, 401, 'token_missing' ], [ 'with one', $dev, 200 ] ]);
my $out = $httpd->get('/merge/off/out/x', token => 'rubbish');
passes($out, 'AuthType None inside a gated place: a token is not looked at');
is($out->sent('X-Forwarded-User'), undef, 'and gives no identity');

# files, by <Directory> and by .htaccess, which request threads read
mkdir $httpd->dir . "/htdocs/$_" for qw(ht gated named);
for my $dir (qw(ht gated named)) { $httpd->write_file("htdocs/$dir/page.txt", "page\n") }
is($httpd->get('/gated/page.txt', token => $dev)->body, "page\n", '<Directory>: the role passes');
refused($httpd->get('/gated/page.txt', token => $shop), 403, 'role', '<Directory>: no role is refused');
refused($httpd->get('/gated/page.txt'), 401, 'token_missing', '<Directory>: no token is refused');
refused($httpd->get('/gated/'), 401, 'token_missing', 'and its index');
refused($httpd->get('//gated//page.txt'), 401, 'token_missing', 'however many slashes');
refused($httpd->get('/x/../gated/./page.txt'), 401, 'token_missing', 'by whatever way');
refused($httpd->get('/%67ated/page%2Etxt'), 401, 'token_missing', 'however escaped');
is($httpd->get('/ht/page.txt')->body, "page\n", '.htaccess: none yet');
$httpd->write_file('htdocs/ht/.htaccess', "AuthType Gate\nAuthName Files\nRequire gate-role dev\n");
is($httpd->get('/ht/page.txt', token => $dev)->body, "page\n", '.htaccess: the role passes');
refused($httpd->get('/ht/page.txt', token => $shop), 403, 'role', '.htaccess: no role is refused') for 1 .. 20;
refused($httpd->get('/ht/page.txt'), 401, 'token_missing', '.htaccess: no token is refused');
$httpd->write_file('htdocs/ht/.htaccess', "AuthType Gate\nAuthName Files\n");
refused($httpd->get('/ht/page.txt'), 401, 'token_missing', '.htaccess: without Require, as if valid-user');
is($httpd->get('/ht/page.txt', token => $shop)->body, "page\n", 'which anybody with a token is');
$httpd->write_file('htdocs/ht/.htaccess', "AuthType Gate\nRequire gate-claim nothing\n");
is($httpd->get('/ht/page.txt', token => $dev)->status, 500, '.htaccess: a broken rule lets nobody in');
expect_in_log(qr/\.htaccess: .*gate-claim/);
$httpd->write_file('htdocs/ht/.htaccess', "GateAccept a\n");
is($httpd->get('/ht/page.txt', token => $dev)->status, 500, '.htaccess: no directive of ours');
expect_in_log(qr/\.htaccess: GateAccept not allowed here/);

# AllowOverrideList lets a file name any directive; what the gate says of itself is said at start alone
for my $line ('GateMode observe', 'GateAccept a', 'GateHeader X-Own user', 'GateTokenFrom query:t', 'GateSudo on', 'GateIdle 5', 'GateIssuerURL https://x') {
    my ($name) = $line =~ /(\w+)/;
    $httpd->write_file('htdocs/named/.htaccess', "$line\n");
    is($httpd->get('/named/page.txt', token => $dev)->status, 500, "AllowOverrideList: $name is not read");
    like($httpd->error_log, qr{\.htaccess: $name has no place in \.htaccess}, '... and the log says why');
}
$httpd->write_file('htdocs/named/.htaccess', "Require gate-role dev\n");
is($httpd->get('/named/page.txt', token => $dev)->body, "page\n", 'AllowOverrideList: Require, which is asked as ever');
refused($httpd->get('/named/page.txt', token => $shop), 403, 'role', '... and refuses');
expect_in_log(qr/has no place in \.htaccess/);

finish();
