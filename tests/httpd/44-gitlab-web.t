# docs/examples/gitlab.conf with TLS: a browser that sees no login page, ActionCable and a terminal.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::GitLab;
use JSON ();
use Time::HiRes qw(time);

plan(skip_all => 'one MPM is enough for the clients') if Gate::Httpd::mpm() ne 'event';

my $dir = place();
my $gate_port = Gate::Httpd::free_port();
my $base = "https://127.0.0.1:$gate_port";

# -- GitLab's side: OmniAuth behind Puma, WebSockets; an httpd for Workhorse, which knows both
chomp(my $public = `openssl pkey -in @{[ support('keys/rs1.pem') ]} -pubout 2>/dev/null`);
my $web   = Gate::Process->start_listening('ruby', support('gitlab_web.rb'), $public, 'RS256', "$base/-/gate/login");
my $cable = Gate::Process->start_listening('/usr/bin/python3', support('cable.py'), 'serve');
my $workhorse = httpd(<<"CONF", without_gate => 1);
# Its log holds queries, and so the logins; that is GitLab's business.
LogFormat "%a %m %U %>s" test
ProxyPreserveHost On
ProxyPassMatch "^(/-/cable|/.+/terminal\\.ws)\$" http://@{[ $cable->address ]}\$1 upgrade=websocket
@{[ keys_of_gitlab() ]}
ProxyPass / http://@{[ $web->address ]}/ nocanon
CONF
my $gate = gate_for('127.0.0.1:' . $workhorse->port, port => $gate_port, tls => 1, secrets => { 'api-token' => 'glpat-x', 'git-basic' => 'Basic eDp4' });
expect_in_log(qr/GATE401: refused: (?:expired|token_missing|login)/, qr/AH01797|AH01617|AH01618|AH01630/, qr/AH01882|AH01873/);

my $token   = mint(person(), exp_in => 900);
my $expired = mint(person(), exp_in => -600, iat_in => -900, nbf_in => -900);

# -- a browser
sub events {
    my ($port) = $web->address =~ /:(\d+)$/;
    return @{ JSON::decode_json(Gate::Client::ask($port, 'GET', '/-/events')->body) };
}
# Where a browser ends that opens this page, and what it shows there.
sub browse {
    my ($name, $path, @with) = @_;
    my $quoted = join ' ', map { "'$_'" } "$base$path", "$dir/$name.png", @with;
    my ($status, $out) = run("/usr/bin/python3 @{[ support('browser.py') ]} $quoted");
    my $seen = eval { JSON::decode_json($out) };
    ok($status == 0 && $seen && -s "$dir/$name.png", "$name: the browser ends, with a picture") or diag($out);
    return $seen || { steps => [], text => '', url => '', cookies => [] };
}
my @logins;
my $page = '/shop/orders/-/issues?state=opened&label=%2Fa';
for my $way ([ 'cookie', "cookie:gate_token=$token" ], [ 'header', "header:Authorization=Bearer $token" ]) {
    my ($name, @with) = @$way;
    my $seen = browse($name, $page, @with);
    is($seen->{url}, "$base$page", "$name: it ends on the page that was asked for");
    like($seen->{text}, qr/Signed in as Dana D \(\@dana, dana\@example\.com\)/, "$name: as the person of the token");
    is_deeply(
        [ map { join ' ', $_->[0], $_->[1] =~ s/^\Q$base\E//r =~ s/jwt=[\w.-]+/jwt=…/r, $_->[2] } @{ $seen->{steps} } ],
        [   "GET $page 302", 'GET /users/sign_in 200', 'POST /users/auth/jwt 302', 'GET /-/gate/login 302',
            'GET /users/auth/jwt/callback?jwt=… 302', "GET $page 200" ],
        "$name: by GitLab's own way");
    my @events = events();
    ok(!$seen->{password} && !grep({ /login page|failure/ } @events), "$name: no login page") or diag(JSON::encode_json([ $seen, @events ]));
    is_deeply([ grep { /^login/ } @events ], ['login dana'], "$name: one login");
    ok((grep { $_ eq '_gitlab_session' } @{ $seen->{cookies} }), "$name: GitLab's session has begun");
    my ($jwt) = map { $_->[1] =~ /jwt=([\w.-]+)/ } @{ $seen->{steps} };
    push @logins, $jwt;
    my $again = browse("$name-again", ($seen->{steps}[4][1] // '') =~ s/^\Q$base\E//r, @with);
    like($again->{text}, qr/login/i, "$name: the same login does not pass again") or diag($again->{text});
    is_deeply([ grep { !/^GET \/favicon/ } events() ], [], "$name: GitLab never sees it");
}
my $lost = browse('expired', $page, "cookie:gate_token=$expired");
is($lost->{steps}[0][2], 401, 'an expired token: 401');
like($lost->{text}, qr/expired/i, 'the page says why');
is_deeply([ grep { !/favicon/ } events() ], [], 'GitLab is not asked');

# -- WebSockets
sub talk {
    my ($kind, $path, $with) = @_;
    my ($status, $out) = run("/usr/bin/python3 @{[ support('cable.py') ]} $kind '" . ($base =~ s/^http/ws/r) . "$path' '$with'");
    return eval { JSON::decode_json($out) } || do { diag("exit $status: $out"); {} };
}
my $exp = time + 8;
my $short = mint(person(), exp_in => 8);
my $seen = talk('cable', '/-/cable', "Cookie: gate_token=$short");
is($seen->{protocol}, 'actioncable-v1-json', 'ActionCable: the handshake is completed, with its subprotocol');
is($seen->{welcome}, 'welcome', 'GitLab speaks first');
is($seen->{subscribed}, 'notes', 'it understands');
is_deeply($seen->{echo}, [ 5, 1_000_000 ], 'and answers, a megabyte too');
is($seen->{user}, 'dana', 'it knows who it is');
ok($seen->{closed} && $seen->{closed} > $exp - 2 && $seen->{closed} < $exp + 6, 'when the token ends, so does the connection') or diag(JSON::encode_json($seen) . " exp $exp");
$exp = time + 6;
$short = mint(person(), exp_in => 6);
$seen = talk('terminal', '/shop/orders/-/environments/1/terminal.ws', "Authorization: Bearer $short");
like($seen->{terminal}, qr/tty-42/, 'a terminal: keys go in, what they do comes out');
ok($seen->{closed} && $seen->{closed} < $exp + 6, 'it is cut likewise');
$seen = talk('cable', '/-/cable', "Cookie: gate_token=$expired");
is("$seen->{status} $seen->{reason}", '401 expired', 'an expired token: the handshake is refused');
$seen = talk('terminal', '/shop/orders/-/environments/1/terminal.ws', 'Accept: */*');
is("$seen->{status} $seen->{reason}", '401 token_missing', 'and so it is without one');

ok($_ && index($gate->error_log . $gate->access_log, substr $_, -40) < 0, 'no log of the gate holds a login') for @logins;
$_->stop for $web, $cable;
finish();
