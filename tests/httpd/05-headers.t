# Identity that goes upstream: only the gate's word, from every client, on every path.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;

my $up = upstream_base();
my $httpd = httpd(
    "GateKeepHeader Geo-GL-Id\n"
        . issuer_section('a', 'GateRoleClaim groups', 'GateRole deployer ref=main')
        . issuer_section('gl', 'GateKind gitlab')
        . issuer_section('ok', 'GateKind okta')
        . gated('/x', 'Require valid-user')
        . gated('/own/', 'GateHeader X-Ref claim:ref', 'GateHeader X-Who user', 'GateHeader X-Forwarded-Email none',
            'GateHeader X-List roles', 'GateHeader X-Deep claim:a.b', 'GateHeader X-Iss issuer', 'GateHeader X-Sub subject', 'Require valid-user')
        . gated('/optional/', 'Require all granted')
        . "<Location /open/>\n ProxyPass $up/open/ nocanon\n</Location>\n"
);
expect_in_log('all granted');

my $token = mint(issuer => 'a', claims => { email => 'dana@example.com', groups => ['devs'] });
my @default = qw(X-Forwarded-User X-Forwarded-Email X-Forwarded-Groups X-Gate-Issuer X-Gate-Subject X-Gate-Project X-Gate-Ref X-Gate-Pipeline X-Gate-Job);
my @own = qw(X-Ref X-Who X-List X-Deep X-Iss X-Sub);

my $answer = $httpd->get('/x', token => $token);
passes($answer, 'a good token passes');
is($answer->sent('X-Forwarded-User'), 'dana', 'user');
is($answer->sent('X-Forwarded-Email'), 'dana@example.com', 'email');
is($answer->sent('X-Forwarded-Groups'), 'devs', 'roles');
is($answer->sent('X-Gate-Issuer'), 'a', 'issuer');
is($answer->sent('X-Gate-Subject'), 'dana', 'subject');
is($answer->sent("X-Gate-$_"), undef, "no X-Gate-$_ but for CI") for qw(Project Ref Pipeline Job);

# -- spoofing: every name, in every spelling, with and without a token, on gated places and others
for my $place ('/x', '/own/x', '/optional/x', '/open/x') {
    for my $with ($place =~ /^.(?:open|optional)/ ? (undef, $token) : $token) {
        for my $name (@default, @own) {
            my $low = lc $name;
            (my $under = $name) =~ tr/-/_/;
            (my $mixed = lc $name) =~ s/-/_/;
            my @spellings = ($name, $low, uc $name, $under, lc $under, uc $under, $mixed);
            my $answer = $httpd->get($place, token => $with, headers => [ map { $_ => 'mallory' } @spellings ]);
            my $saw = JSON::encode_json($answer->upstream_saw || {});
            ok($answer->upstream_saw && $saw !~ /mallory/, "$name does not get through at $place" . ($with ? ' with a token' : '')) or diag($answer->as_string);
        }
    }
}
# A value split over two lines, and an empty one.
$answer = $httpd->get('/x', token => $token, headers => [ 'X-Forwarded-User' => 'mallory', 'X-Forwarded-User' => '', 'x-forwarded-USER' => 'root' ]);
is($answer->sent('X-Forwarded-User'), 'dana', 'however often it is given');

# -- Connection
for my $name (@default[ 0 .. 4 ]) {
    for my $value ($name, lc $name, "close, $name", "$name ,keep-alive", "x,$name,y") {
        my $answer = $httpd->get('/x', token => $token, headers => [ Connection => $value ]);
        ok(defined $answer->sent($name), "Connection: $value does not drop the gate's $name") or diag($answer->as_string);
    }
}
$answer = $httpd->get('/x', token => $token, headers => [ Connection => 'X-Forwarded-User', Connection => 'x-gate-issuer, X-Extra', 'X-Extra' => 1 ]);
is($answer->sent('X-Forwarded-User'), 'dana', 'two Connection headers do not either');
is($answer->sent('X-Gate-Issuer'), 'a', 'for none of the names');
is($answer->sent('X-Extra'), undef, 'and what else is named there is dropped as ever');
# mod_proxy ends a name at white space and at a semicolon too, and skips what is quoted.
for my $name ('X-Forwarded-User', 'X-Gate-Issuer') {
    for my $value ("close;$name", "close; $name", ";$name", "$name;", "close $name", "close\t$name", "$name close", qq("a" $name), qq("a, b";$name), "a=b;$name", "\\ $name") {
        is($httpd->get('/x', token => $token, headers => [ Connection => $value ])->sent($name), $name =~ /User/ ? 'dana' : 'a', "Connection: $value does not drop it");
    }
}
$answer = $httpd->get('/own/x', token => $token, headers => [ Connection => 'X-Who' ]);
is($answer->sent('X-Who'), 'dana', "nor a header of the administrator's");

# -- GitLab's own internal headers
for my $name (qw(Gitlab-Workhorse-Api-Request Gitlab-Workhorse-Send-Data Gitlab-Kas-Api-Request Gitlab-Shell-Api-Request Gitlab-Agent-Api-Request)) {
    for my $place ('/x', '/open/x') {
        (my $under = $name) =~ tr/-/_/;
        my $answer = $httpd->get($place, token => $token, headers => [ $name => 'forged', $under => 'forged', uc $name => 'forged' ]);
        unlike(JSON::encode_json($answer->upstream_saw || {}), qr/forged/, "$name does not get through at $place");
    }
}
is($httpd->get('/x', token => $token, headers => [ 'Geo-GL-Id' => 'site' ])->sent('Geo-GL-Id'), 'site', 'GateKeepHeader lets one through');
is($httpd->get('/x', token => $token, headers => [ 'X-Harmless' => 'a', 'PRIVATE-TOKEN' => 'b' ])->sent('PRIVATE-TOKEN'), 'b', 'other headers are left alone');

# -- values
sub roles { return $httpd->get('/x', token => mint(issuer => 'a', claims => { groups => $_[0] }))->sent('X-Forwarded-Groups') }
is(roles([ 'a', 'b' ]), 'a,b', 'a list is joined by commas');
is(roles(['a,admin']), 'a%2Cadmin', 'a comma in an item is encoded');
is(roles(['50%']), '50%25', 'so is the per cent sign');
is(roles(["a\nX-Evil: 1"]), 'a%0AX-Evil: 1', 'so is a line break');
is(roles(["a\x{7f}\tb"]), 'a%7F%09b', 'and other control characters');
is(roles([ ' admins', 'b ', ' ' ]), '%20admins,b%20,%20', 'and a blank at an end, which an upstream takes away');
refused($httpd->get('/x', token => mint(issuer => 'a', claims => { sub => $_ })), 401, 'user_missing', "a user '$_', whom an upstream would take for another") for ' root', 'root ', ' ';
is(roles([]), undef, 'no roles, no header');
is(roles('one'), 'one', 'a claim that is one word is one role');
is(($httpd->get('/x', token => mint(issuer => 'a', claims => { groups => ['devs'], ref => 'main' }))->sent('X-Forwarded-Groups') // '') =~ tr{,}{}, 1, 'role rules add to the claim');

$answer = $httpd->get('/x', token => mint(issuer => 'a', claims => { sub => "dan\x{e4} \x{263a}" }));
passes($answer, 'a user beyond ASCII passes');
is($answer->sent('X-Forwarded-User'), "dan\x{e4} \x{263a}", 'and arrives as UTF-8');

is($httpd->get('/x', token => mint(issuer => 'a', claims => { email => 'a@b.c', email_verified => JSON::false }))->sent('X-Forwarded-Email'), undef, 'an address that is not verified is not sent');
is($httpd->get('/x', token => mint(issuer => 'a', claims => { email => 'a@b.c', email_verified => 'false' }))->sent('X-Forwarded-Email'), undef, 'nor where that is said as text');
is($httpd->get('/x', token => mint(issuer => 'a', claims => { email => 'a@b.c', email_verified => JSON::true }))->sent('X-Forwarded-Email'), 'a@b.c', 'a verified one is');
for my $word ('no', 'TRUE', 'yes', '', 0, 1, [ JSON::true ], {}) {
    my $shown = JSON->new->allow_nonref->encode($word);
    is($httpd->get('/x', token => mint(issuer => 'a', claims => { email => 'a@b.c', email_verified => $word }))->sent('X-Forwarded-Email'), undef, "nor where it is $shown");
}
is($httpd->get('/x', token => mint(issuer => 'a', claims => { email => 'a@b.c', email_verified => $_ }))->sent('X-Forwarded-Email'), 'a@b.c', 'an address that is verified, or of which nothing is said, is sent') for 'true', undef;
my $evil = $httpd->get('/x', token => mint(issuer => 'a', claims => { email => "a\r\nX-Evil: 1" }));
is($evil->sent('X-Evil'), undef, 'a line break in an address makes no header');
unlike($evil->sent('X-Forwarded-Email') // '', qr/[\r\n]/, 'and is never sent raw');

# -- CI
$answer = $httpd->get('/x', token => mint(issuer => 'gl', shape => 'gitlab'), headers => [ 'X-Gate-Job' => '1' ]);
is($answer->sent('X-Forwarded-User'), 'dana', 'CI: the person behind the pipeline');
is($answer->sent('X-Gate-Project'), 'shop/orders', 'CI: project');
is($answer->sent('X-Gate-Ref'), 'main', 'CI: ref');
is($answer->sent('X-Gate-Pipeline'), '574', 'CI: pipeline');
is($answer->sent('X-Gate-Job'), '302', 'CI: job');
like($answer->sent('X-Gate-Subject'), qr/^project_path:shop/, 'CI: subject');
is($httpd->get('/x', token => mint(issuer => 'ok', shape => 'okta'))->sent('X-Forwarded-Groups'), 'gitlab-devs', 'Okta: groups are roles');

# -- the administrator's own
$answer = $httpd->get('/own/x', token => mint(issuer => 'a', claims => { ref => 'main', email => 'a@b.c', groups => [ 'x', 'y' ], a => { b => [ 1, 'two,', JSON::true ] } }));
is($answer->sent('X-Ref'), 'main', 'a claim');
is($answer->sent('X-Who'), 'dana', 'the user under another name');
is($answer->sent('X-Forwarded-User'), 'dana', 'and under the default one');
is($answer->sent('X-Forwarded-Email'), undef, 'none drops a default one');
is($answer->sent('X-Deep'), '1,two%2C,true', 'a claim inside another, a list');
is($answer->sent('X-Iss'), 'a', 'the issuer');
is($answer->sent('X-Sub'), 'dana', 'the subject');
$answer = $httpd->get('/own/x', token => mint(issuer => 'a'), headers => [ 'X-Ref' => 'forged' ]);
is($answer->sent('X-Ref'), undef, 'a claim that is not there gives no header, and no forged one');

finish();
