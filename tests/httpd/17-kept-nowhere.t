# What passed the gate, what it has put in, and tokens stay nowhere: not in mod_cache, nor in a TRACE's echo, nor in a
# log; and nothing comes in behind it, by trailers or by another protocol.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use File::Temp ();
use IO::Socket::INET;

my $up  = upstream_base();
my $ws  = $up =~ s/^http/ws/r;
my $tmp = File::Temp->newdir('gate-kept-XXXXXX', TMPDIR => 1);
chmod 0755, $tmp;
Gate::Httpd::spew("$tmp/token", "glpat-kept-nowhere-1\n");
my $dana = mint(issuer => 'a');

# -- mod_cache: an answer that was served through the gate is not served past it
sub caching {
    my ($quick) = @_;
    my $httpd = httpd(
        "CacheRoot \@DIR\@/cache\nCacheEnable disk /\nCacheQuickHandler $quick\nCacheHeader on\nCacheIgnoreNoLastMod On\n"
            . issuer_section('a')
            . qq(<Directory "\@DIR\@/htdocs/wiki">\n Options +FollowSymLinks\n AuthType Gate\n AuthName x\n GateTokenFrom bearer cookie:gate\n Require valid-user\n RewriteEngine On\n RewriteRule ^([a-z]+)\$ \$1.html\n</Directory>\n)
            . qq(<Directory "\@DIR\@/htdocs/index">\n DirectoryIndex /wiki/page.html\n</Directory>\n)
            . qq(<Directory "\@DIR\@/htdocs/pages">\n Options +Includes\n AddOutputFilter INCLUDES .shtml\n AddType text/html .shtml\n</Directory>\n),
        modules => [qw(cache cache_disk include)],
    );
    my $dir = $httpd->dir;
    mkdir "$dir/$_" for qw(cache htdocs/wiki htdocs/index htdocs/pages);
    chmod 0777, "$dir/cache";
    $httpd->write_file('htdocs/wiki/page.html',  "the secret page\n");
    $httpd->write_file('htdocs/pages/p.shtml',   qq(<!--#include virtual="/wiki/page.html" -->\n));
    $httpd->write_file('htdocs/pages/q.shtml',   qq(before it <!--#include virtual="/wiki/page.html" -->\n));
    $httpd->write_file('htdocs/plain.html', "anybody's\n");
    # mod_cache takes what was just changed for stale at once
    utime time - 864_000, time - 864_000, "$dir/htdocs/$_" for qw(wiki/page.html pages/p.shtml pages/q.shtml plain.html);

    $httpd->get('/plain.html') for 1 .. 2;
    like($httpd->get('/plain.html')->header('X-Cache'), qr/HIT/, "CacheQuickHandler $quick: what is not gated is cached");
    my @cookie = (headers => [ Cookie => "gate=$dana" ]);
    for my $path ('/wiki/page', '/wiki/page.html', '/index/', '/pages/p.shtml', '/pages/q.shtml') {
        like($httpd->get($path, @cookie)->body, qr/the secret page/, "$path is served to who has a token");
        for my $again ($path, '/wiki/page.html') {
            unlike($httpd->get($again)->body, qr/secret/, "and then $again not to nobody");
        }
    }
    return;
}
expect_in_log(qr/GATE401: refused: token_missing/, qr/AH01374|unable to include/);
caching('On');
caching('Off');

# -- the rest is asked of one server
my $fcgi = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die $!;
my $child = fork // die $!;
serve_fcgi() if !$child;
my $keep = 'GateTokenFrom bearer query:gate';
my $httpd = httpd(
    "MergeTrailers On\n"
        . issuer_section('a') . issuer_section('b')
        . gated('/api/', "GateUpstreamToken file:$tmp/token", 'GateSudo on', 'Require valid-user')
        . gated('/q/', $keep, 'Require valid-user')
        . gated('/watched/', 'GateMode observe', $keep, 'GateAccept b', 'Require valid-user')
        . "<Location /fcgi/>\n AuthType Gate\n AuthName x\n Require valid-user\n ProxyPass fcgi://127.0.0.1:" . $fcgi->sockport . "/\n</Location>\n"
        . "<Location /raw/>\n AuthType Gate\n AuthName x\n Require valid-user\n ProxyPass $up/raw/ upgrade=ANY\n</Location>\n"
        . "<Location /open/>\n ProxyPass $up/open/\n</Location>\n"
        . "<Proxy \"$up\">\n ProxySet upgrade=ANY\n</Proxy>\n<Location /late/handler/>\n SetHandler \"proxy:$up\"\n</Location>\n"
        . qq(<Directory "\@DIR\@/htdocs/late/rewrite">\n Options +FollowSymLinks\n RewriteEngine On\n RewriteRule ^(.*)\$ $up/late/\$1 [P]\n</Directory>\n)
        . qq(<Directory "\@DIR\@/htdocs/late/index">\n DirectoryIndex /raw/open/x\n</Directory>\n<Location /raw/open/>\n AuthType None\n Require all granted\n</Location>\n)
        . join('', map { my ($name, @lines) = @$_; "<Location /ws/$name/>\n AuthType Gate\n AuthName x\n Require valid-user\n @{[ join qq(\n ), @lines ]}\n</Location>\n" }
            [ seeing => "ProxyPass $ws/ws/" ], [ http => "ProxyPass $up/ws/" ])
        . "RewriteEngine On\nRewriteRule ^/hop/(.*)\$ /q/\$1 [PT]\n",
    modules => [qw(proxy_fcgi proxy_wstunnel)],
);
mkdir $httpd->dir . "/htdocs/late$_" for '', '/rewrite', '/index';
expect_in_log(qr/AH01146/, qr/GATE204/);
expect_in_log(qr/GATE202: GateMode observe/, qr/GATE208: MergeTrailers/, qr/GATE403: would have been refused/);

# -- TRACE comes back with all that the request holds
my $answer = $httpd->ask('TRACE', '/api/v4/x', token => $dana, headers => [ 'Max-Forwards' => 0, 'Sudo' => 'root' ]);
like($answer->body, qr/^TRACE /, 'httpd echoes a TRACE');
unlike($answer->body, qr/glpat-|Sudo|\Q@{[ substr $dana, -30 ]}\E/i, 'without what the gate puts in, or has taken out');
$answer = $httpd->ask('TRACE', '/api/v4/x', token => $dana);
is($answer->sent('PRIVATE-TOKEN'), undef, 'and one that goes on to the upstream takes no credential along');
is($httpd->get('/api/v4/x', token => $dana)->sent('PRIVATE-TOKEN'), 'glpat-kept-nowhere-1', 'which other requests do');

# -- trailers come when the gate has looked at the headers already
$answer = $httpd->ask('POST', '/fcgi/x', token => $dana, headers => [ 'Transfer-Encoding' => 'chunked' ],
    body => "5\r\nhello\r\n0\r\nX-Forwarded-User: root\r\nX-Forwarded-Groups: admin\r\n\r\n");
like($answer->body, qr/^HTTP_X_FORWARDED_USER=dana$/m, 'a FastCGI upstream gets who it is');
unlike($answer->body, qr/root|admin/, 'and nothing that came as a trailer');
like($httpd->error_log, qr/GATE208/, 'MergeTrailers is told of');
kill TERM => $child;
waitpid $child, 0;

# -- another protocol on the same connection would have no token, or no gate
$answer = $httpd->raw("GET /raw/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $dana\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n");
is($answer->status, 200, 'an offer of h2c is answered by HTTP/1.1');
is($answer->sent('Upgrade'), undef, 'and does not go on to the upstream');
for my $place ('/late/handler/x', '/late/rewrite/x', '/late/index/') {
    $answer = $httpd->raw("GET $place HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n");
    passes($answer, "$place, open, which is found to be proxied only late");
    is($answer->sent('Upgrade'), undef, '... is not offered h2c either');
}

expect_in_log('AH01630');
my $refusing = httpd(issuer_section('a') . "<Location />\n AuthType Gate\n AuthName x\n Require user dana\n ErrorDocument 401 /why\n ErrorDocument 403 /why\n ProxyPass $up/ upgrade=ANY\n</Location>\n");
for my $protocol ('h2c', 'websocket', 'h2c, websocket') {
    for my $case ([ 'nobody', 'token_missing', '' ], [ 'somebody else', 'rule', 'Authorization: Bearer ' . mint(issuer => 'a', claims => { sub => 'bob' }) . "\r\n" ]) {
        my ($who, $reason, $credentials) = @$case;
        $answer = $refusing->raw("GET /x HTTP/1.1\r\nHost: x\r\n${credentials}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: $protocol\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n");
        is($answer->header('X-Gate-Reason'), $reason, "$who is refused, and shown a document of the upstream's");
        is($answer->target, '/why', '... which is asked for itself');
        is($answer->sent('Upgrade'), undef, "... without an offer of $protocol");
    }
}

# mod_proxy_wstunnel by itself tunnels before the upstream has agreed, and the next request would have no gate
my $handshake = "Authorization: Bearer $dana\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
for my $place (qw(seeing http)) {
    passes($httpd->raw("GET /ws/$place/x HTTP/1.1\r\nHost: x\r\n$handshake"), "/ws/$place/: mod_proxy_http waits for the upstream's 101");
}
for my $wrong ([ [qw(proxy_wstunnel)], 'ProxyWebsocketFallbackToProxyHttp Off' ]) {
    my ($modules, @lines) = @$wrong;
    my ($status, $said) = Gate::Httpd->start_fails(join("\n", @lines, issuer_section('a')), modules => $modules);
    isnt($status, 0, 'mod_proxy_wstunnel by itself: httpd does not start');
    like($said, qr/mod_proxy_wstunnel would tunnel before the upstream has agreed/, '... and says why');
}

# -- no log holds a token that came by the query, whatever became of the request (finish() looks)
my $foreign = mint(issuer => 'a', claims => { jti => 'watched' });
is($httpd->get("/watched/x?gate=$foreign&z=1")->status, 200, 'observed: a token that would be refused stays in the request');
refused($httpd->get("/q/x?gate=$dana.x"), 401, 'token_malformed', 'refused');
$httpd->get("/hop/x?gate=$dana&z=1");
$httpd->get("/open/x?gate=$dana&z=1");
is($httpd->get("/q/%00?gate=$dana")->status, 404, 'not found before anybody looked for a token');
unlike($httpd->access_log, qr/[?&]gate=/, 'the access log has no such parameter');
like($httpd->access_log, qr{GET /hop/x\?z=1 HTTP}, 'but the others');
$answer = $httpd->get('/open/x', headers => [ Referer => "https://gate.test/q/x?a=1&gate=$dana#top" ]);
is($answer->sent('Referer'), 'https://gate.test/q/x?a=1#top', 'a Referer goes on without it');

finish();

# One request a connection; answers with the variables that tell who it is.
sub serve_fcgi {
    while (my $client = $fcgi->accept) {
        my ($params, $ended) = ('', 0);
        while (!$ended) {
            read($client, my ($head), 8) == 8 or last;
            my ($version, $type, $id, $length, $padding) = unpack 'CCnnC', $head;
            read $client, my ($body), $length;
            read $client, my ($rest), $padding;
            $params .= $body if $type == 4;
            $ended = $type == 5 && $length == 0;
        }
        my $text = '';
        while (length $params) {
            my @size = map { my $n = unpack 'C', $params; $n < 128 ? (substr $params, 0, 1, '') && $n : unpack('N', substr $params, 0, 4, '') & 0x7fffffff } 1 .. 2;
            my ($name, $value) = map { substr $params, 0, $_, '' } @size;
            $text .= "$name=$value\n" if $name =~ /FORWARDED_(?:USER|GROUPS)|REMOTE_USER/;
        }
        my $page = "Content-Type: text/plain\r\n\r\n$text";
        print {$client} pack('CCnnCC', 1, 6, 1, length $page, 0, 0) . $page . pack('CCnnCC', 1, 6, 1, 0, 0, 0) . pack('CCnnCCNCCCC', 1, 3, 1, 8, 0, 0, 0, 0, 0, 0, 0);
        close $client;
    }
    exit 0;
}
