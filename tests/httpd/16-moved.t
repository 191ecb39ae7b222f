# mod_dir and mod_negotiation put another place under a request (a fast redirect, of which no hook is told), and
# pages include others: each place's own rules hold, its upstream gets what is due to it, and the audit log tells.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use File::Temp ();
use Gate::Audit ();

my $up  = upstream_base();
my $tmp = File::Temp->newdir('gate-moved-XXXXXX', TMPDIR => 1);
chmod 0755, $tmp;
Gate::Httpd::spew("$tmp/token", "glpat-of-the-other-place\n");
my $secret = "GateUpstreamToken file:$tmp/token paths=any";
my $httpd = httpd(
    issuer_section('a', 'GateRole dev groups=devs')
        . gated('/g/', 'GateTokenFrom bearer query:gate cookie:gate', 'GateHeader X-Who user', 'Require gate-role dev')
        . gated('/ahead/', 'Require gate-role dev') . "RewriteEngine On\nRewriteCond %{LA-U:REMOTE_USER} ^mallory\nRewriteRule ^/ahead/ - [F]\n"
        . "<Location /open/>\n ProxyPass $up/open/\n</Location>\n"
        . "<Location /own/>\n $secret\n ProxyPass $up/own/\n</Location>\n"
        . join('', map {; qq(<Directory "\@DIR\@/htdocs/$_->[0]">\n Options +FollowSymLinks +Includes +ExecCGI\n AddHandler cgi-script .cgi\n AddOutputFilter INCLUDES .shtml\n AddType text/html .shtml\n $_->[1]\n</Directory>\n) }
            [ index    => 'DirectoryIndex /g/x' ],
            [ fallback => 'FallbackResource /g/y' ],
            [ own      => 'DirectoryIndex /own/x' ],
            [ gated    => "AuthType Gate\n AuthName x\n Require valid-user\n $secret\n GateHeader X-First user\n DirectoryIndex /open/x" ],
            [ change   => "AuthType Gate\n AuthName x\n Require valid-user\n $secret\n GateHeader X-First user\n DirectoryIndex /g/x" ],
            [ views    => qq(Options +MultiViews\n <Files "page.txt">\n AuthType Gate\n AuthName x\n Require valid-user\n</Files>) ],
            [ through  => "AuthType Gate\n AuthName x\n Require valid-user\n DirectoryIndex /pages/p.shtml" ],
            [ whole    => "AuthType Gate\n AuthName x\n GateTokenFrom cookie:gate\n Require valid-user" ],
            [ other    => "AuthType Gate\n AuthName x\n GateTokenFrom cookie:another\n Require all granted" ],
            [ by_env   => "AuthType Gate\n AuthName x\n GateTokenFrom cookie:another\n Require env GATE_USER" ],
            [ first    => qq(DirectoryIndex first.html /g/x\n <Files "first.html">\n AuthType Gate\n AuthName x\n Require gate-role dev\n</Files>) ],
            [ pages    => '' ],
            [ front    => "AuthType Gate\n AuthName x\n Require valid-user\n RewriteEngine On\n RewriteRule ^([a-z]+)\$ \$1.txt\n <If \"gate_claim('sub') == 'dana'\">\n Header set X-If yes\n </If>\n Header always set X-Env %{GATE_USER}e" ]),
    modules => [qw(negotiation include cgid)],
);
expect_in_log(qr/GATE204|GATE240/, qr/GATE401: refused: (?:rule|role|token_missing)/, qr/AH01374|AH0068[67]|AH00690|unable to include/);
mkdir $httpd->dir . "/htdocs/$_" for qw(first index fallback own gated change views pages front through whole other by_env);
for my $place (qw(pages whole other by_env)) {
    $httpd->write_file("htdocs/$place/who.cgi", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\necho \"$place: \$GATE_USER \$REMOTE_USER \$AUTH_TYPE \$HTTP_X_FORWARDED_USER\"\n");
    chmod 0755, $httpd->dir . "/htdocs/$place/who.cgi";
}
$httpd->write_file('htdocs/whole/page.shtml', join '', map { qq(<!--#include virtual="/$_/who.cgi" -->) } qw(pages whole other by_env));
$httpd->write_file('htdocs/pages/env.cgi', "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nenv\n");
$httpd->write_file('htdocs/gated/to.cgi', "#!/bin/sh\nprintf 'Location: /pages/env.cgi\\n\\n'\n");
$httpd->write_file('htdocs/gated/page.shtml', qq(<!--#include virtual="/pages/env.cgi" -->));
$httpd->write_file('htdocs/first/first.html', "the first\n");
chmod 0755, map { $httpd->dir . "/htdocs/$_" } qw(pages/env.cgi gated/to.cgi);
$httpd->write_file('htdocs/views/page.txt', "a view\n");
$httpd->write_file('htdocs/front/page.txt', "a page\n");
$httpd->write_file('htdocs/pages/p.shtml',  qq(before <!--#include virtual="/g/part" --> after\n));

my $dev  = mint(issuer => 'a', claims => { groups => ['devs'] });
my $none = mint(issuer => 'a');
my $seen = 0;

# What the audit log has got since: "path outcome reason".
sub told {
    my ($wanted) = @_;
    my @lines;
    for (1 .. 50) {
        @lines = grep { $_->{url}{path} } Gate::Audit::lines($httpd->dir . '/audit.log');
        last if @lines >= $seen + $wanted;
        select undef, undef, undef, 0.1;
    }
    my @new = @lines[ $seen .. $#lines ];
    $seen = @lines;
    return join '; ', map { join ' ', $_->{url}{path}, $_->{event}{outcome}, $_->{event}{reason} // () } @new;
}

# -- an open directory whose index, or fallback, is behind the gate
for my $case ([ '/index/', '/g/x' ], [ '/fallback/nothing', '/g/y' ]) {
    my ($path, $to) = @$case;
    for my $way ([ 'Authorization', '', token => $dev ], [ 'a cookie', '', headers => [ Cookie => "a=1; gate=$dev" ] ], [ 'the query', "?a=1&gate=$dev" ]) {
        my ($name, $query, @with) = @$way;
        my @headers = (@{ { @with }->{headers} || [] }, 'X-Forwarded-User' => 'mallory', 'X-Who' => 'mallory');
        my $answer = $httpd->get("$path$query", @with, headers => \@headers);
        passes($answer, "$path leads to a gated place: the role passes, the token in $name") or next;
        is($answer->sent('X-Forwarded-User'), 'dana', 'the upstream gets who it is');
        is($answer->sent('X-Who'), 'dana', 'by the headers of that place');
        unlike($answer->body, qr/\Q@{[ substr $dev, -30 ]}\E/, 'and no token');
        is(told(1), "$to success", 'it is written down once');
    }
    my $answer = $httpd->get($path, token => $none);
    refused($answer, 403, 'role', "$path: without the role it is refused, with the reason");
    is(scalar(my @said = $answer->header('X-Gate-Reason')), 1, 'said once');
    is($answer->upstream_saw, undef, 'and the upstream is not asked');
    is(told(1), "$to failure role", 'and it is written down');
    $answer = $httpd->get($path);
    refused($answer, 401, 'token_missing', "$path: without a token too");
    like($answer->header('WWW-Authenticate'), qr/^Bearer/, 'with the challenge');
    told(1);
    for my $with ([ 401, 'token_missing' ], [ 403, 'role', token => $none ]) {
        my ($status, $reason, @token) = @$with;
        $answer = $httpd->get($path, @token, headers => [ Accept => 'application/json' ]);
        refused($answer, $status, $reason, "$path: who takes JSON");
        is((eval { JSON::decode_json($answer->body) } || {})->{error}, $reason, '... is told in it');
        like($answer->header('Content-Type'), qr{^application/json}, '... as such');
        told(1);
    }
}

# -- a first index that is refused, and a second
for my $accept ('text/html', 'application/json') {
    my $answer = $httpd->get('/first/', token => $none, headers => [ Accept => $accept ]);
    refused($answer, 403, 'role', "a first index is refused, for $accept");
    like($answer->body, qr/^(?:<!DOCTYPE html>|\{"error":"role").*(?:<\/html>|\})\s*\z/s, 'in the words of the gate');
}
is($httpd->get('/first/', token => $dev)->body, "the first\n", 'with the role it is there');
told(3);

# -- what was put in for one upstream is no program's elsewhere
for my $way ('/gated/page.shtml', '/gated/to.cgi') {
    my $answer = $httpd->get($way, token => $dev);
    like($answer->body, qr/^GATEWAY_INTERFACE=/m, "$way leads to a program of an open place");
    unlike($answer->body, qr/glpat|^(?:REDIRECT_)*HTTP_X_(?:FORWARDED_USER|FIRST)=/m, '... which has no credential in its environment, nor who it is');
}
told(2);

# -- a gated place that is left for another one
my $answer = $httpd->get('/gated/', token => $dev);
passes($answer, 'the index of a gated directory is an open place');
is($answer->sent($_), undef, "which gets no $_") for qw(X-Forwarded-User X-First PRIVATE-TOKEN Authorization);
refused($httpd->get('/gated/'), 401, 'token_missing', 'and the directory itself is gated');
$answer = $httpd->get('/change/', token => $dev);
passes($answer, 'the index of a gated directory is in another gated place');
is($answer->sent('X-Who'), 'dana', 'whose headers go up');
is($answer->sent($_), undef, "but no $_ of the directory's") for qw(X-First PRIVATE-TOKEN);
refused($httpd->get('/change/', token => $none), 403, 'role', 'whose rule is asked');
$answer = $httpd->get('/own/', headers => [ 'PRIVATE-TOKEN' => 'glpat-mallory', Sudo => 'root' ]);
is($answer->sent($_), undef, "an open place with a credential of its own: the client's $_ is gone") for qw(PRIVATE-TOKEN Sudo);

# -- mod_negotiation
$answer = $httpd->get('/views/page', token => $none);
is($answer->status . ' ' . $answer->body, "200 a view\n", 'MultiViews: a gated variant, with a token');
isnt($httpd->get('/views/page')->status, 200, 'and not without one');

# -- a look ahead is no access
sleep 1;    # for the lines of what was asked so far
told(0);
refused($httpd->get('/ahead/x', token => $none), 403, 'role', 'mod_rewrite looks ahead at who it will be');
sleep 1;
is(told(1), '/ahead/x failure role', 'which is written down once');

# -- an internal redirect within one place keeps what was decided
$answer = $httpd->get('/front/page', token => $none);
is($answer->status . ' ' . $answer->body, "200 a page\n", 'mod_rewrite within a gated directory');
is($answer->header('X-Env'), 'dana', 'GATE_USER is there after it');
is($answer->header('X-If'), undef, 'and <If> has no claims, there neither');
is(told(1), '/front/page success', 'one line tells of it');

# -- a page that is made of others
$answer = $httpd->get('/whole/page.shtml', headers => [ Cookie => "gate=$dev", 'X-Forwarded-User' => 'mallory' ]);
like($answer->body, qr/^whole: dana dana Gate dana$/m, 'a part in the same place has the identity');
like($answer->body, qr/^$_:    $/m, "one in another place, $_, has none of the page's") for qw(pages other);
unlike($answer->body, qr/by_env/, "nor does the page's fulfil a rule there");
like($httpd->get('/through/', token => $dev)->body, qr/X-Forwarded-User","dana"/, 'a part of an open page that a gated directory led to has the token');
sleep 1;
told(0);
$answer = $httpd->get('/pages/p.shtml', token => $dev);
like($answer->body, qr/X-Forwarded-User/, 'mod_include: a gated part, with the role');
is(told(1), '/g/part success', 'the part is written down');
unlike($httpd->get('/pages/p.shtml', token => $none)->body, qr/"target"/, 'without the role it is left out');
is(told(1), '/g/part failure role', 'and that is written down');

finish();
