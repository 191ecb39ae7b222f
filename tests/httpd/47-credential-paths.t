# The gate's credential, Sudo, an assertion and GitLab's login go only where it is known what GitLab does with them, for
# whom they are meant, and never to a request that another site made a browser send.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use File::Temp ();
use MIME::Base64 qw(encode_base64);

my $dir = File::Temp->newdir('gate-paths-XXXXXX', TMPDIR => 1);
chmod 0755, $dir;
sub file {
    my ($name, $text, $mode) = @_;
    my $file = Gate::Httpd::spew("$dir/$name", $text);
    chmod $mode // 0644, $file;
    return $file;
}
my $token = file('token', "glpat-behind\n");
my $basic = file('basic', 'Basic ' . encode_base64('gate:glpat-git', ''));
my $key   = file('login.pem', Gate::Httpd::slurp("$FindBin::RealBin/../support/keys/rs1.pem"), 0600);
my $up    = upstream_base();
my $sudo  = "GateUpstreamToken file:$token\n GateSudo on";
my $git   = "GateUpstreamToken file:$basic header=Authorization";
my @from  = ('GateTokenFrom bearer basic cookie:gate', 'Require valid-user');

# A whole GitLab behind `/`, its credential as Sudo; git and the registry as Basic, as the example has them.
my $httpd = httpd(
    "GateAssertionKey file:$key\n" . issuer_section('a') . issuer_section('ci', 'GateKind gitlab')
        . gated('/', $sudo, @from)
        . "<LocationMatch \"^/(?:.+\\.git/|jwt/|/jwt)\">\n $git\n GateSudo off\n</LocationMatch>\n"
        . gated('/nosudo/', 'GateSudo off', @from)
        . gated('/watch/', 'GateMode observe', $sudo, @from)
        . gated('/elsewhere/', "GateUpstreamToken file:$token paths=any\n GateSudo off", @from)
        . gated('/jobs/', 'GateSudo people jobs', @from)
        . gated('/only/', 'GateSudo jobs', @from)
        . gated('/sudo/', 'GateUpstreamToken off', @from)
        . gated('/stated/', "GateUpstreamToken off\n GateSudo off\n GateAssertion on", @from)
        . gated('/plain/', "GateUpstreamToken off\n GateSudo off", @from)
        . "<Location /mapped/>\n ProxyPass $up/api/v4/\n</Location>\n<Location /coded/>\n ProxyPass $up/\n</Location>\n"
        . "<Location /handler/>\n ProxyPass !\n SetHandler \"proxy:$up\"\n</Location>\n"
        . "<Location /-/gate/login>\n SetHandler gate-gitlab-login\n</Location>\n"
        . "RewriteEngine On\nRewriteRule ^/rewritten/(.*) $up/\$1 [P]\n"
        . "<Directory \"\@DIR\@/htdocs/late\">\n RewriteEngine On\n RewriteRule ^(.*)\$ $up/\$1 [P]\n</Directory>\n<Location /late/>\n ProxyPass !\n</Location>\n"
);
mkdir $httpd->dir . '/htdocs/late';
expect_in_log(qr/GATE202|GATE240|AH01136/);
my $jwt  = mint(issuer => 'a');
my %job  = (user_login => 'root', job_id => '7', pipeline_id => '8', project_path => 'shop/orders');
my $job  = mint(issuer => 'ci', claims => {%job});
my @dana = (token => $jwt);

# -- with Sudo: the REST API, and of it nothing that shows or hands out the token
for my $path ('/api/v4/user', '/api/v4/projects/shop%2Forders', '/gitlab/api/v4/user', '/o/default/api/v4/user', '/mapped/user', '/rewritten/api/v4/user', '/late/api/v4/user') {
    my $answer = $httpd->get($path, @dana);
    is($answer->sent('PRIVATE-TOKEN'), 'glpat-behind', "$path: the credential goes in") or diag($answer->as_string);
    is($answer->sent('Sudo'),          'dana',         '... for the person');
}
for my $path (
    '/api/graphql', '/api/graphql/', '/api/graphql?x=/api/v4/user', '/', '/shop/orders', '/admin', '/oauth/token', '/shop/orders/-/raw/main/api/v4/user',
    '/api/v4/internal/check', '/api/v4/%69nternal/check', '/api/v4/internal%2Fcheck', '/api/v4//internal/check', '/gitlab/api/v4/internal/check', '/api/v4/mcp', '/o/default/api/v4/mcp/',
    '/api/v4/personal_access_tokens/self', '/api/v4/personal_access_tokens//self/', '/api/v4/personal%5faccess_tokens/%73elf?x=1', '/api/v4/Personal_Access_Tokens/SELF.json',
    '/api/v4/personal_access_tokens%2Fself', '/api/v4/personal_access_tokens/self/rotate', '/api/v4/projects/1/access_tokens/self/rotate', '/mapped/personal_access_tokens/self',
    '/api/v4/packages/conan/v1/users/authenticate', '/api/v4/projects/shop%2Forders/packages/conan/v1/users/authenticate/', '/mapped/packages/conan/v2/users/authenticate.json',
    '/api/v4/packages/terraform/modules/v1/shop/m/aws/1.0.0/download', '/api/v4/ai/duo_workflows/ws', '/coded/api/graphql', '/rewritten/api/graphql', '/late/api/graphql', '/handler/api/v4/user',
) {
    refused($httpd->ask($_, $path, @dana), 403, 'credential_path', "$_ $path") for qw(GET POST);
}
refused($httpd->get('/watch/x', @dana), 403, 'credential_path', 'where the gate only observes too');
refused($httpd->get('/api/graphql'), 401, 'token_missing', 'who is nobody is asked who they are');
passes($httpd->get('/plain/api/graphql', @dana), 'where no credential goes in any path passes');
passes($httpd->get('/plain/api/v4/personal_access_tokens/self', @dana, headers => [ 'PRIVATE-TOKEN' => 'glpat-mine' ]), '... with the own token of the client');
is($httpd->get('/elsewhere/x', @dana)->sent('PRIVATE-TOKEN'), 'glpat-behind', 'paths=any is for an upstream that is no GitLab');
refused($httpd->get('/nosudo/api/v4/user', @dana), 403, 'credential_path', 'without Sudo everybody would be the administrator');
like(refusal('/api/graphql'), qr/credential does not go to .*graphql.*below .api.v4/, 'the log says what came and what is allowed');
like(refusal('/api/v4/personal_access_tokens/self'), qr/shows, renews and revokes.*self_rotation\.rb/, '... and why');

# -- as Basic: git, LFS and the registry's tokens
my $refs = '/shop/orders.git/info/refs?service=git-upload-pack';
my $registry = '/jwt/auth?account=d&service=container_registry&scope=repository:shop/orders:pull';
for my $case ([ GET => $refs ], [ GET => $registry ], [ POST => '/shop/orders.git/git-upload-pack' ], [ POST => '/shop/orders.git/git-receive-pack' ], [ POST => '/shop/orders.git/info/lfs/objects/batch' ], [ POST => '/shop/orders.git/info/lfs/locks/3/unlock' ]) {
    like($httpd->ask(@$case, @dana)->sent('Authorization'), qr/^Basic /, "@$case: the credential goes in");
}
like($httpd->get($refs, token => $job)->sent('Authorization'), qr/^Basic /, "a job's too: nobody's power is in it");
for my $path (
    '/jwt/auth', '/jwt/auth?service=dependency_proxy', '/jwt/auth/?service=dependency_proxy', '//jwt/auth?service=dependency_proxy', '/jwt/%61uth?service=dependency_proxy', '/jwt/auth/?service=container_registry',
    "$registry&service=dependency_proxy", "$registry&%73ervice=dependency_proxy", "$registry;service=dependency_proxy", "$registry&service[]=dependency_proxy", "$registry&x=1",
    '/shop/orders.git', '/shop/orders.git/info/refs', "$refs&service=git-receive-pack", '/shop/orders.git/gitlab-lfs/objects/1', '/shop/orders.git/info/lfs/objects',
) {
    refused($httpd->get($path, @dana), 403, 'credential_path', $path);
}
for my $with ([ headers => [ 'Content-Type' => 'application/x-www-form-urlencoded' ], body => 'service=dependency_proxy' ], [ body => 'service=dependency_proxy' ], [ headers => [ 'Transfer-Encoding' => 'chunked' ], body => "0\r\n\r\n" ]) {
    refused($httpd->ask('GET', $registry, @dana, @$with), 403, 'credential_path', 'a GET with a body could ask for another service');
}
refused($httpd->ask('POST', $registry, @dana, body => 'x'), 403, 'credential_path', 'so could a POST');

# -- only a person gets a person's power
refused($httpd->get('/api/v4/user', token => $job), 403, 'credential_path', "a job is not who started it");
refused($httpd->get('/sudo/x', token => $job), 403, 'credential_path', '... nor where Sudo goes alone');
is($httpd->get('/sudo/x', @dana)->sent('Sudo'), 'dana', '... as a person is');
is($httpd->get('/jobs/api/v4/user', token => $job)->sent('Sudo'), 'root', 'GateSudo people jobs');
is($httpd->get('/jobs/api/v4/user', @dana)->sent('Sudo'), 'dana', '... is for both');
is($httpd->get('/only/api/v4/user', token => $job)->sent('Sudo'), 'root', 'GateSudo jobs');
refused($httpd->get('/only/api/v4/user', @dana), 403, 'credential_path', '... is for jobs alone');
my $mail = mint(issuer => 'a', claims => { email => 'dana@example.com' });
refused($httpd->get('/-/gate/login', token => mint(issuer => 'ci', claims => { %job, user_email => 'root@example.com' })), 403, 'login', 'a job gets no login');
my $login = $httpd->get('/-/gate/login', token => $mail);
is($login->status, 302, '... as a person does') or diag($login->as_string);

# -- what another site made a browser send
my $own    = 'http://127.0.0.1:' . $httpd->port;
my $cookie = "gate=$jwt";
my $form   = sub { return (headers => [ 'Content-Type' => 'application/x-www-form-urlencoded', @_ ], body => 'a=1') };
my @evil = (
    [ 'Sec-Fetch-Site' => 'cross-site' ], [ 'Sec-Fetch-Site' => 'same-site', Origin => $own ], [ Origin => 'https://evil.example' ], [ Origin => 'null' ], [ Origin => 'http://127.0.0.1:1' ],
    [ 'Sec-Fetch-Mode' => 'cors' ], [ 'Sec-Fetch-Dest' => 'empty' ],
);
my @good = ([ 'Sec-Fetch-Site' => 'same-origin', 'Sec-Fetch-Mode' => 'cors' ], [ 'Sec-Fetch-Site' => 'none' ], [ Origin => $own ], []);
for my $place ('/api/v4/user/keys', '/elsewhere/x', '/sudo/x', '/stated/x') {
    refused($httpd->ask('POST', $place, $form->(Cookie => $cookie, @$_)), 403, 'cross_site', "$place, @$_") for @evil;
    passes($httpd->ask('POST', $place, $form->(Cookie => $cookie, @$_)), "$place, @$_") for @good;
    passes($httpd->ask('POST', $place, @dana, $form->(@$_)), "$place, @$_: a page can not send a bearer token by itself") for @evil;
    passes($httpd->ask('POST', $place, @dana, $form->(@$_, Cookie => $cookie)), "... nor does the same token as a cookie make it so") for $evil[0];
    passes($httpd->get($place, headers => [ Cookie => $cookie, @$_ ]), "GET $place, @$_: a link of another site") for @evil;
    refused($httpd->get($place, headers => [ Cookie => $cookie, @$_, Connection => 'Upgrade', Upgrade => 'websocket' ]), 403, 'cross_site', "$place, @$_: a WebSocket is a GET") for @evil;
}
refused($httpd->ask('POST', '/api/v4/x', $form->(Cookie => "$cookie; _gitlab_session=x")), 403, 'cross_site', 'a browser that says nothing of where it comes from');
passes($httpd->ask('POST', '/api/v4/x', $form->(Cookie => "$cookie; _gitlab_session=x", Origin => $own)), '... and one that does');
refused($httpd->ask('POST', '/watch/api/v4/x', $form->(Cookie => $cookie, Origin => 'https://evil.example')), 403, 'cross_site', 'where the gate only observes too');
refused($httpd->get('/-/gate/login', headers => [ Cookie => "gate=$mail", Origin => 'https://evil.example', Connection => 'Upgrade', Upgrade => 'websocket' ]), 403, 'cross_site', 'nor a login');
passes($httpd->ask('POST', '/plain/x', $form->(Cookie => $cookie, @{ $evil[0] })), 'where nothing is added the upstream sees to it');
my $password = 'Basic ' . encode_base64("x:$jwt", '');
for my $method (qw(GET POST)) {
    my $answer = $httpd->ask($method, '/api/v4/x', headers => [ Authorization => $password, 'Sec-Fetch-Mode' => 'navigate', 'Sec-Fetch-Site' => 'same-origin' ]);
    refused($answer, 401, 'token_missing', "$method: a browser's Basic is no source");
}
passes($httpd->ask('POST', '/api/v4/x', headers => [ Authorization => $password ], body => 'a=1'), 'that of another client is');
refused($httpd->ask('POST', '/api/v4/x', headers => [ Authorization => $password, Origin => 'https://evil.example' ], body => 'a=1'), 403, 'cross_site', 'but not that of an older browser');
is($httpd->get('/plain/x', @dana, headers => [ 'Sec-Fetch-Mode' => 'cors' ])->sent('X-Forwarded-User'), 'dana', 'Bearer is a source in a browser');

# -- the method that is judged is the method that the upstream sees
for my $name ('X-HTTP-Method-Override', 'x_http_method_override', 'X-HTTP-Method', 'X-Method-Override') {
    is($httpd->ask('POST', '/plain/x', @dana, headers => [ $name => 'DELETE' ])->sent($name), undef, "$name does not go up");
    is($httpd->ask('POST', '/api/v4/x', @dana, headers => [ $name => 'DELETE' ])->sent($name), undef, '... with the credential');
}
my $kept = httpd("GateKeepHeader X-HTTP-Method-Override\n" . issuer_section('a') . "ProxyPass / $up/\n");
is($kept->ask('POST', '/x', headers => [ 'X-HTTP-Method-Override' => 'DELETE' ])->sent('X-HTTP-Method-Override'), 'DELETE', 'GateKeepHeader lets it through');
for my $name (qw(X-Method-Override Gitlab-Agentk-Api-Request Gitlab-Mailroom-Api-Request Gitlab-Pages-Api-Request Gitlab-Shared-Secret gitlab_agent_api_request)) {
    is($kept->get('/x', headers => [ $name => 'x' ])->sent($name), undef, "$name goes up from no client");
}

# -- start-up
my ($status, $out) = configtest(issuer_section('a') . gated('/', "GateUpstreamToken file:$token paths=any", 'Require valid-user'));
ok($status == 0 && $out =~ /GATE240.*paths=any/, 'paths=any is warned of') or diag($out);

# The line of the error log about this refusal.
sub refusal {
    my ($path) = @_;
    my $id = $httpd->get($path, @dana)->header('X-Gate-Request');
    return (grep { /\Q$id\E/ } split /\n/, $httpd->error_log)[0] // '';
}
finish();
