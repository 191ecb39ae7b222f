# One request becomes another inside httpd: no way round leads past the gate, and none carries an identity too far.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;

my $up = upstream_base();
sub open_place { return "<Location $_[0]>\n ProxyPass $up$_[0] nocanon\n</Location>\n" }
my $httpd = httpd(
    issuer_section('a', 'GateRole dev groups=devs')
        . issuer_section('q')
        # ErrorDocument
        . gated('/doc/open/', 'ErrorDocument 401 /sorry.txt', 'ErrorDocument 403 /sorry.txt', 'Require gate-role dev')
        . gated('/doc/proxied/', 'ErrorDocument 401 /upstream/sorry', 'ErrorDocument 403 /upstream/sorry', 'Require gate-role dev')
        . gated('/doc/gated/', 'ErrorDocument 401 /doc/gated/sorry', 'ErrorDocument 403 /doc/gated/sorry', 'Require gate-role dev',
            'RequestHeader set X-Seen "expr=%{REMOTE_USER}|%{AUTH_TYPE}|%{THE_REQUEST}"')
        . qq(<Directory "\@DIR\@/htdocs/page">\n AuthType Gate\n AuthName x\n Require gate-role dev\n ErrorDocument 401 /page/sorry.shtml\n ErrorDocument 403 /page/sorry.shtml\n)
        . qq( Options +Includes\n AddOutputFilter INCLUDES .shtml\n AddType text/html .shtml\n</Directory>\n)
        . gated('/doc/other/', 'ErrorDocument 401 /secret/sorry', 'ErrorDocument 403 /secret/sorry', 'Require gate-role dev')
        . gated('/doc/granted/', 'ErrorDocument 401 /doc/granted/sorry', 'Require valid-user')
        . qq(<Location /doc/granted/sorry>\n Require all granted\n</Location>\n)
        . join('', map { "<Location /$_->[0]/>\n AuthType Gate\n AuthName x\n $_->[1]\n Require valid-user\n ErrorDocument 404 /after$_->[0]/x\n ProxyErrorOverride On 404\n ProxyPass $up/ nocanon\n</Location>\n"
                . gated("/after$_->[0]/", $_->[1], 'Require gate-role dev') } [ app => 'GateTokenFrom bearer' ], [ query => 'GateTokenFrom query:token' ])
        . open_place('/upstream/')
        # mod_rewrite
        . "RewriteEngine On\n"
        . "RewriteRule ^/rw/proxy/(.*)\$ $up/secret/\$1 [P]\n"
        . "RewriteRule ^/rw/pass/(.*)\$ /gated/\$1 [PT]\n"
        . "RewriteRule ^/rw/out/(.*)\$ /\$1 [PT]\n"
        . qq(<Location /rw/proxy/>\n AuthType Gate\n AuthName GitLab\n Require gate-role dev\n</Location>\n)
        . gated('/secret/', 'Require gate-role dev')
        . qq(<Directory "\@DIR\@/htdocs/hop">\n Options +FollowSymLinks\n RewriteEngine On\n RewriteRule ^in\$ /secret/x\n RewriteRule ^out\$ /upstream/x\n</Directory>\n)
        . qq(<Directory "\@DIR\@/htdocs/gatedhop">\n Options +FollowSymLinks\n AuthType Gate\n AuthName x\n Require valid-user\n RewriteEngine On\n RewriteRule ^out\$ /upstream/x\n RewriteRule ^in\$ /secret/x\n</Directory>\n)
        # mod_dir, mod_include
        . qq(<Directory "\@DIR\@/htdocs/gated">\n AuthType Gate\n AuthName x\n DirectoryIndex page.txt\n Require gate-role dev\n</Directory>\n)
        . qq(<Directory "\@DIR\@/htdocs/index">\n DirectoryIndex /gated/page.txt\n</Directory>\n)
        . qq(<Directory "\@DIR\@/htdocs/ssi">\n Options +Includes\n AddOutputFilter INCLUDES .shtml\n AddType text/html .shtml\n</Directory>\n)
        . "Alias /alias/ \@DIR\@/htdocs/gated/\n",
    modules => ['include'],
);
expect_in_log(qr/AH0(?:1630|1629|1617|1374)|include|GATE204/, qr/GATE401: refused: role: .*got no role/);    # sub-requests have no client to tell
mkdir $httpd->dir . "/htdocs/$_" for qw(hop gatedhop gated index ssi page);
$httpd->write_file('htdocs/sorry.txt', "sorry\n");
$httpd->write_file('htdocs/page/sorry.shtml', 'of ' . join(',', map { qq(<!--#echo var="$_" -->) . ($_ eq 'REQUEST_URI' ? ':' : '') } qw(REQUEST_URI REMOTE_USER AUTH_TYPE REDIRECT_REMOTE_USER REDIRECT_GATE_USER)) =~ s/:,/: /r . "\n");
$httpd->write_file('htdocs/gated/page.txt', "secret page\n");
$httpd->write_file('htdocs/ssi/page.shtml', qq(before <!--#include virtual="/gated/page.txt" --> after <!--#include virtual="/secret/y" -->\n));
$httpd->write_file("htdocs/$_", "x\n") for 'hop/in', 'hop/out';

my $answer;
my $dev  = mint(issuer => 'a', claims => { groups => ['devs'] });
my $none = mint(issuer => 'a');
my $bad  = mint(issuer => 'a', mutate => 'flip_sig');
sub nobody { my ($answer, $name) = @_; is($answer->sent($_), undef, "$name: no $_ goes upstream") for qw(X-Forwarded-User X-Gate-Issuer Authorization) }

# -- ErrorDocument
for my $case ([ 'no token', undef, 401, 'token_missing' ], [ 'no role', $none, 403, 'role' ], [ 'a bad token', $bad, 401, 'signature' ]) {
    my ($who, $token, $status, $code) = @$case;
    $answer = $httpd->get('/doc/open/x', token => $token);
    refused($answer, $status, $code, "ErrorDocument, $who: status and reason stay");
    is($answer->body, "sorry\n", 'and the document is served');
    ok(scalar $answer->header('WWW-Authenticate'), 'with the challenge');
    is(scalar(my @ids = $answer->header('X-Gate-Reason')), 1, 'said once');

    $answer = $httpd->get('/doc/proxied/x', token => $token);
    is($answer->header('X-Gate-Reason'), $code, "a proxied ErrorDocument, $who: the reason stays");    # the status is mod_proxy's
    is($answer->target, '/upstream/sorry', 'and the upstream wrote it');
    nobody($answer, "a proxied ErrorDocument, $who");

    # httpd asks no rule again where the document falls into the same section; the gate gives it no identity
    $answer = $httpd->get('/doc/gated/x', token => $token);
    is($answer->header('X-Gate-Reason'), $code, "an ErrorDocument of the same gated place, $who: the reason stays");
    is($answer->target, '/doc/gated/sorry', 'and the upstream wrote it');
    nobody($answer, "an ErrorDocument of the same gated place, $who");
    is($answer->sent('X-Seen'), '||GET /doc/gated/sorry HTTP/1.1', 'nor has httpd anybody for it, and what was asked for is the document');
    $answer = $httpd->get('/page/secret.txt?x=1', token => $token);
    refused($answer, $status, $code, "an ErrorDocument that is a program's, $who: status and reason stay");
    is($answer->body, "of /page/sorry.shtml: (none),(none),(none),(none)\n", 'and it is told of itself and of nobody');

    # but where it falls into another one, that one's rules hold
    $answer = $httpd->get('/doc/other/x', token => $token);
    is($answer->status, $status, "an ErrorDocument of another gated place, $who: the status stays");
    is($answer->header('X-Gate-Reason'), $code, 'and the reason');
    is($answer->upstream_saw, undef, 'and the upstream is not asked');

    $answer = $httpd->get('/doc/granted/x', token => $token);
    next if $code eq 'role';
    is($answer->header('X-Gate-Reason'), $code, "an ErrorDocument below the gate that is open, $who: the reason stays");
    is($answer->target, '/doc/granted/sorry', 'and it is served');
    nobody($answer, "an ErrorDocument below the gate, $who");
}

# -- what a granted request leads to is judged anew, with the token that was taken from the first
for my $way ([ 'app', '', 'header' ], [ 'query', '?token=', 'parameter' ]) {
    my ($place, $query, $name) = @$way;
    my $get = sub { return $httpd->get("/$place/-/status/404" . ($query ? "$query$_[0]" : ''), $query ? () : (token => $_[0])) };
    my $answer = $get->($dev);
    is($answer->target, "/after$place/x", "the upstream's 404 leads to the document (a token by $name)");
    is($answer->sent('X-Forwarded-User'), 'dana', 'with the identity of the token that was taken from the first request');
    unlike($answer->body, qr/\Q@{[ substr $dev, -30 ]}\E/, 'and without the token');
    $answer = $get->($none);
    is($answer->upstream_saw, undef, 'and who lacks the role of the document does not get it');
}

# -- mod_rewrite
refused($httpd->get('/rw/proxy/x'), 401, 'token_missing', '[P]: no token is refused');
refused($httpd->get('/rw/proxy/x', token => $none), 403, 'role', '[P]: no role is refused');
$answer = $httpd->get('/rw/proxy/x%2Fy?a=%2F', token => $dev, headers => [ 'X-Forwarded-User' => 'mallory' ]);
passes($answer, '[P]: the role passes');
is($answer->sent('X-Forwarded-User'), 'dana', 'with its identity');
is($answer->sent('Authorization'), undef, 'without its token');
refused($httpd->get('/rw/pass/page.txt'), 401, 'token_missing', '[PT] into a gated place: no token is refused');
refused($httpd->get('/rw/pass/page.txt', token => $none), 403, 'role', '[PT]: no role is refused');
is($httpd->get('/rw/pass/page.txt', token => $dev)->body, "secret page\n", '[PT]: the role passes');
is($httpd->get('/rw/out/sorry.txt')->body, "sorry\n", '[PT] to an open place passes');
refused($httpd->get('/hop/in'), 401, 'token_missing', 'an internal redirect into a gated place: no token is refused');
refused($httpd->get('/hop/in', token => $none), 403, 'role', 'no role is refused');
$answer = $httpd->get('/hop/in', token => $dev);
passes($answer, 'the role passes');
is($answer->sent('X-Forwarded-User'), 'dana', 'with its identity');
$answer = $httpd->get('/hop/out', headers => [ 'X-Forwarded-User' => 'mallory' ]);
passes($answer, 'an internal redirect to an open place passes');
nobody($answer, 'an open place by internal redirect');
refused($httpd->get('/gatedhop/out'), 401, 'token_missing', 'from a gated place to an open one: no token is refused');
$answer = $httpd->get('/gatedhop/out', token => $dev);
passes($answer, 'a token passes');
nobody($answer, 'an open place that a gated one leads to');
$answer = $httpd->get('/gatedhop/in', token => $dev);
passes($answer, 'from a gated place to another: the role passes');
is($answer->sent('X-Forwarded-User'), 'dana', 'judged by the token that was taken from the first request');
refused($httpd->get('/gatedhop/in', token => $none), 403, 'role', 'and refused by it');

# -- mod_dir
is($httpd->get('/gated/', token => $dev)->body, "secret page\n", 'mod_dir: the index of a gated directory, with the role');
refused($httpd->get('/gated/', token => $none), 403, 'role', 'mod_dir: without the role');
refused($httpd->get('/gated/'), 401, 'token_missing', 'mod_dir: without a token');
isnt($httpd->get('/gated', token => $none)->status, 200, 'mod_dir: without the slash');
$answer = $httpd->get('/index/');
isnt($answer->status, 200, 'mod_dir: an index that is gated, without a token');
unlike($answer->body, qr/secret page/, 'shows nothing of it');
is($httpd->get('/index/', token => $dev)->body, "secret page\n", 'mod_dir: and with the role');
refused($httpd->get('/alias/page.txt'), 401, 'token_missing', 'an Alias into a gated directory is gated');
is($httpd->get('/alias/page.txt', token => $dev)->body, "secret page\n", 'and with the role served');

# -- mod_include
$answer = $httpd->get('/ssi/page.shtml');
is($answer->status, 200, 'mod_include: an open page without a token');
unlike($answer->body, qr/secret page|"target"/, 'holds nothing of a gated one');
like($answer->body, qr/^before .* after /, 'but its own words');
$answer = $httpd->get('/ssi/page.shtml', token => $none);
unlike($answer->body, qr/secret page|"target"/, 'nor without the role');
$answer = $httpd->get('/ssi/page.shtml', token => $dev, headers => [ 'X-Forwarded-User' => 'mallory' ]);
like($answer->body, qr/before secret page/, 'with the role it does');
like($answer->body, qr/"X-Forwarded-User","dana"/i, 'and a proxied sub-request has the identity');
unlike($answer->body, qr/mallory/, 'and no other');
like($httpd->access_log, qr{GET /page/secret\.txt\?x=1 HTTP/1\.1" 403 user=dana }, 'the access log knows the person whose refusal had a document');

finish();
