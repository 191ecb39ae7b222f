# docs/examples/gitlab.conf as it is shipped: what goes up to GitLab, route by route, against routes.txt.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::GitLab;
use MIME::Base64 qw(encode_base64);

plan(skip_all => 'one MPM is enough for the routes') if Gate::Httpd::mpm() ne 'event';

my ($api_token, $git_basic) = ('glpat-admin-secret-00000000001', 'Basic ' . encode_base64('gate:service-secret-0000000000002', ''));
# GateAccountAPI's question is answered by a file, so that only the request that is tried goes to the upstream.
my $account = "RewriteEngine On\nRewriteCond %{HTTP_USER_AGENT} ^mod_gitlab_gate\nRewriteRule ^/api/v4/users\$ /account.json [PT]\nProxyPass /account.json !\n";
my $workhorse = httpd(keys_of_gitlab() . "\n${account}ProxyPreserveHost On\nProxyPass / @{[ upstream_base() ]}/ nocanon\n", without_gate => 1);
$workhorse->write_file('htdocs/account.json', '[{"id":7,"username":"dana","state":"active"}]');
my $gate = gate_for('127.0.0.1:' . $workhorse->port, secrets => { 'api-token' => "$api_token\n", 'git-basic' => "$git_basic\n" });
expect_in_log(qr/GATE40[0-9]: refused: /, qr/AH01797|AH01617|AH01618|AH01630/, qr/AH01136/);
remember($api_token);

my %token = (member => mint(person(), exp_in => 900), job => mint(job('http://127.0.0.1:' . $gate->port), exp_in => 900), nobody => undef);
my %body = (POST => '{}', PUT => '{}', PATCH => '{}');

# The fields of a request that shows this token in this way, and GitLab's own credential beside it.
sub fields {
    my ($by, $token) = @_;
    my @own = ('JOB-TOKEN' => 'own');
    push @own, Cookie => '_gitlab_session=own' if $by =~ /^(?:none|cookie)$/;
    push @own, Authorization => 'Basic b3duOm93bg==' if $by eq 'lfs';
    return @own if !defined $token || $by =~ /^(?:lfs|none)$/;
    return (@own, Authorization => "Bearer $token") if $by eq 'bearer';
    return (@own, Authorization => 'Basic ' . encode_base64("x:$token", '')) if $by eq 'basic';
    return (@own, 'Proxy-Authorization' => "Bearer $token") if $by eq 'proxy';
    return ('JOB-TOKEN' => 'own', Cookie => "_gitlab_session=own; gate_token=$token", Origin => 'http://127.0.0.1:' . $gate->port) if $by eq 'cookie';
    return (@own, 'X-Gate-Token' => $token) if $by eq 'x-gate-token';
    die "no way to show a token: $by\n";
}

# What GitLab got, in the words of routes.txt.
sub what_went_up {
    my ($answer, $target, $by) = @_;
    my $reason = $answer->header('X-Gate-Reason');
    return $reason if $reason;
    return 'sign-in' if ($answer->header('Location') // '') =~ m{^/users/auth/jwt/callback\?jwt=};
    return 'keys' if $answer->status == 200 && $answer->body =~ /^\{"keys":/;
    $answer->upstream_saw or return 'status ' . $answer->status;
    my %sent = map { $_ => scalar $answer->sent($_) } qw(PRIVATE-TOKEN Sudo Authorization JOB-TOKEN X-Gate-Token Proxy-Authorization);
    my $got = join ' ', map { "$_: $sent{$_}" } grep { defined $sent{$_} } sort keys %sent;
    my $own = $by eq 'lfs' ? 'Authorization: Basic b3duOm93bg== JOB-TOKEN: own' : 'JOB-TOKEN: own';
    my %word = ("PRIVATE-TOKEN: $api_token Sudo: dana" => 'sudo', "Authorization: $git_basic" => 'basic', $own => 'own');
    my $cookies = $answer->sent('Cookie') // '_gitlab_session=own';
    return "cookies: $cookies" if $cookies ne '_gitlab_session=own';
    my $as_asked = $answer->target eq ($target =~ s/(?<=[?&])(?:sudo|private_token)=[^&]*&?//gr =~ s/[?&]$//r =~ s{^//+}{/}r);
    return ($word{$got} // "other: $got") . ($as_asked ? '' : ' as ' . $answer->target);
}

my ($routes, %seen) = (0);
for my $line (split /\n/, Gate::Httpd::slurp("$FindBin::RealBin/routes.txt")) {
    next if $line =~ /^(?:#|$)/;
    my ($method, $path, $by, @wanted) = split ' ', $line;
    is(scalar @wanted, 3, "three words: $line") or next if @wanted != 3;
    $routes++;
    ok(0, "twice: $line") if $seen{"$method $path $by"}++;
    my $target = $path =~ s/HEX64/'0a' x 32/er;
    my @got;
    for my $who (qw(member job nobody)) {
        my @type = $body{$method} ? ('Content-Type' => $path =~ /\.git\/git-/ ? 'application/x-git-request' : 'application/json') : ();
        my $answer = $gate->ask($method, $target, headers => [ fields($by, $token{$who}), @type ], $body{$method} ? (body => $body{$method}) : ());
        push @got, what_went_up($answer, $target, $by);
    }
    is("@got", "@wanted", "$method $path, $by");
}
cmp_ok($routes, '>=', 200, "$routes routes");

# What the table has no word for.
is($gate->get('/o/default/admin', headers => [ Cookie => 'gate_token=' . mint(issuer => 'people', claims => { aud => 'https://gate.example.com', preferred_username => 'root', groups => ['gitlab-admins'] }) ])->sent('X-Forwarded-Groups'), 'admin', 'administrators get to the administration');
my $keys = $gate->get('/oauth/discovery/keys');
ok($keys->status == 200 && $keys->body =~ /"keys"/, "GitLab's keys for everybody");

# -- the parts that are defined on demand, and what each opens
my $more = gate_for('127.0.0.1:' . $workhorse->port, define => { INTEGRATIONS => 1, KAS => upstream_base() =~ s{^http://}{}r },
    secrets => { 'api-token' => "$api_token\n", 'git-basic' => "$git_basic\n", 'api-basic' => 'Basic ' . encode_base64("root:$api_token", '') . "\n" });
my @own = (Authorization => 'Bearer own');
for my $open ('GET /api/v4/feature_flags/unleash/20/client/features', 'POST /api/v4/feature_flags/unleash/20/client/register', 'POST /api/v4/error_tracking/collector/api/20/envelope/',
    'POST /api/v4/projects/20/trigger/pipeline', 'POST /api/v4/projects/20/ref/main/trigger/pipeline', 'POST /shop/orders/prometheus/alerts/notify.json', 'POST /shop/orders/-/alerts/notify/pager/0a.json',
    'POST /oauth/token', 'GET /oauth/userinfo', 'GET /-/kubernetes-agent/') {
    is($more->ask(split(/ /, $open), headers => [@own])->sent('Authorization'), 'Bearer own', "$open: GitLab's own secret goes up");
    is($gate->ask(split(/ /, $open), headers => [@own])->header('X-Gate-Reason'), 'token_malformed', '... where that is defined');
}
for my $closed ('GET /api/v4/feature_flags/unleash/20/client/features/x', 'GET /api/v4/projects/20/feature_flags', 'POST /api/v4/projects/20/trigger/pipeline/x', 'GET /api/v4/projects/20/triggers',
    'POST /shop/orders/-/raw/main/a/alerts/notify.json', 'POST /o/default/alerts/notify.json', 'GET /oauth/authorize', 'GET /oauth/applications', 'GET /-/kubernetes-agent/k8s-proxy/api') {
    is($more->ask(split(/ /, $closed), headers => [@own])->header('X-Gate-Reason'), 'token_malformed', "$closed stays closed");
}
for my $path ('/api/v4/projects/20/packages/nuget/index.json', '/api/v4/groups/3/-/packages/nuget/query?q=x', '/api/v4/projects/shop%2Forders/packages/helm/stable/index.yaml', '/api/v4/projects/20/packages/debian/dists/stable/Release') {
    my $answer = $more->get($path, headers => [ Authorization => 'Basic ' . encode_base64("dana:$token{member}", ''), 'X-NuGet-ApiKey' => 'x' ]);
    is(join(' ', map { $answer->sent($_) // '-' } qw(Authorization Sudo PRIVATE-TOKEN X-NuGet-ApiKey)), 'Basic ' . encode_base64("root:$api_token", '') . ' dana - -', "$path: Basic and Sudo");
}

finish();
