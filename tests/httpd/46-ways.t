# Ways to the upstream that no request may take: dot segments, which choose another place here than there.
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
        . gated('/watch/', "GateUpstreamToken file:$token", 'GateMode observe', 'Require valid-user')
        . "<LocationMatch ^/open/job\$>\n Require all granted\n AuthType None\n</LocationMatch>\n"
        . "<Location /open/>\n Require all granted\n AuthType None\n ProxyPass @{[ upstream_base() ]}/open/\n</Location>\n"
        . "<Location /ne/>\n Require all granted\n AuthType None\n</Location>\nRewriteEngine On\nRewriteRule \"^/ne/(.*)\" \"@{[ upstream_base() ]}%{REQUEST_URI}\" [P,NE]\n"
        . "ProxyPass /servlet/ @{[ upstream_base() ]}/servlet/ mapping=servlet\n"
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
passes($httpd->get($_, token => $jwt), "$_ is a path") for '/api/v4/projects/shop%2Forders/repository/files/src%2F.gitignore', '/api/v4/..x/.y/z..', '/api/v4/x?a=/../b', '/api/v4/%252e%252e/x';
is($httpd->get('/pages/../pages/./a.html', token => $jwt)->body, "a page\n", 'where nothing is proxied httpd resolves them, as ever');

# -- what is sent is what counts, not what came
refused($httpd->get("/ne/open/$_/secret"), 400, 'path', "/ne/open/$_/secret: a RewriteRule [P,NE] sends the dots") for '%252e%252e', '.%252e', '%252E.';
passes($httpd->get('/ne/open/%2525'), '... and what is none passes');
refused($httpd->get($_), 400, 'path', "$_: a servlet container drops the parameters and sees dots") for '/open/..;/secret', '/open/..;x=1/secret', '/open/x/.;/job', '/open/..%3b/secret';
passes($httpd->get($_), "$_ is a path") for '/open/a;x=..', '/open/;../x', '/open/...;/x';
refused($httpd->get('/servlet/notexisting/../x', token => $jwt), 400, 'path', 'mapping=servlet: the place that a raw path leads to is not looked for twice');

# -- httpd with the module and no directive of it does what httpd does
my @mapping = ("ProxyPass /mapping/ @{[ upstream_base() ]}/mapping/ mapping=servlet\nProxyPass /plain/ @{[ upstream_base() ]}/plain/\n");
my ($bare, $none) = (httpd(@mapping, without_audit => 1), httpd(@mapping, without_gate => 1));
for my $path ('/notexisting/../mapping/x', '/plain/../plain/x', '/plain/..;/x', '/plain/%2e%2e/x', '/mapping/x') {
    is($bare->get($path)->status, $none->get($path)->status, "$path: the same status with the module as without it");
    is($bare->get($path)->target, $none->get($path)->target, '... and the same target at the upstream');
}
passes($bare->get('/notexisting/../mapping/x'), 'which is the upstream, with mapping=servlet');

finish();
