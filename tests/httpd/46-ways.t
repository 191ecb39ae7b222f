# Ways to the upstream that no request may take: dot segments, which choose another place here than there, and what
# GitLab tells of the gate's own token.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Temp ();
use Gate;

my $token = File::Temp->new(TEMPLATE => 'gate-token-XXXXXX', TMPDIR => 1);
print {$token} "glpat-behind\n";
close $token;
chmod 0644, "$token";
my $local = "<Location /pages/>\n AuthType Gate\n AuthName x\n Require valid-user\n ProxyPass !\n</Location>\n";
my $httpd = httpd(issuer_section('a')
        . gated('/', 'Require valid-user')
        . $local
        . gated('/api/', "GateUpstreamToken file:$token", 'GateSudo on', 'Require valid-user')
        . gated('/plain/', "GateUpstreamToken file:$token", 'Require valid-user')
        . gated('/watch/', "GateUpstreamToken file:$token", 'GateMode observe', 'Require valid-user')
        . "<LocationMatch ^/open/job\$>\n Require all granted\n AuthType None\n</LocationMatch>\n"
        . "<Location /proxied/>\n Require all granted\n AuthType None\n SetHandler \"proxy:@{[ upstream_base() ]}\"\n</Location>\n");
expect_in_log(qr/GATE202|AH01136/);
mkdir $httpd->dir . '/htdocs/pages';
$httpd->write_file('htdocs/pages/a.html', "a page\n");
my $jwt = mint(issuer => 'a');

# -- dots
passes($httpd->get('/open/job'), 'an open place is open');
for my $path ('/secret/../open/job', '/secret/%2e%2E/open/job', '/secret/.%2e/open/job', '/open/./job', '/secret/x/../../open/job', '/secret/x%2F../../open/job') {
    refused($httpd->get($path), ($path =~ /%2F/ ? 401 : 400), ($path =~ /%2F/ ? 'token_missing' : 'path'), "$path: nobody reaches the upstream's other places through it");
}
refused($httpd->get('/secret/../proxied/x'), 400, 'path', 'nor where a handler leads to the upstream');
for my $path ('/shop/secret/-/archive/x/../../../../../api/v4/}/f.zip', '/api/v4/../v4/user', '/api/v4/projects/..%2f1', '/watch/../api/v4/user', '/api/v4/../../watch/x') {
    refused($httpd->get($path, token => $jwt), 400, 'path', "$path: nor somebody, with the gate's credential");
}
refused($httpd->get('/api/../x'), 401, 'token_missing', 'who is nobody is asked first');
passes($httpd->get($_, token => $jwt), "$_ is a path") for '/api/v4/projects/shop%2Forders/repository/files/src%2F.gitignore', '/api/..x/.y/z..', '/api/x?a=/../b', '/api/%252e%252e/x';
is($httpd->get('/pages/../pages/./a.html', token => $jwt)->body, "a page\n", 'where nothing is proxied httpd resolves them, as ever');

# -- the gate's own token
for my $path ('/api/v4/personal_access_tokens/self', '/api/v4//personal_access_tokens//self/', '/api/v4/personal%5faccess_tokens/%73elf?x=1', '/api/v4/projects/1/access_tokens/self/rotate', '/api/v4/Personal_Access_Tokens/SELF.json', '/api/v4/personal_access_tokens%2Fself', '/plain/personal_access_tokens/self', '/watch/personal_access_tokens/self') {
    refused($httpd->ask($_, $path, token => $jwt), 403, 'credential_self', "$_ $path: nobody is told of it") for qw(GET POST);
}
passes($httpd->get('/api/v4/personal_access_tokens', token => $jwt), 'the person\'s own are listed');
passes($httpd->get('/personal_access_tokens/self', token => $jwt, headers => [ 'PRIVATE-TOKEN' => 'glpat-mine' ]), 'where no credential goes in the client may ask about his own');
refused($httpd->get('/api/v4/personal_access_tokens/self'), 401, 'token_missing', 'who is nobody is asked who he is');
finish();
