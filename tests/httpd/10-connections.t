# One connection, many identities; many servers in one httpd: nobody gets what belongs to another.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use File::Temp ();

my $up = upstream_base();
my $h2 = Gate::Httpd::mpm() ne 'prefork' && `curl --version` =~ /HTTP2/;    # mod_http2 does not work with prefork
my $tls = Gate::Httpd::free_port();
my $keys = File::Temp->newdir;
system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=main.test -keyout $keys/key.pem -out $keys/cert.pem 2>/dev/null");
my $certified = Gate::Httpd::free_port();
my $secure = $h2 ? <<"CONF" : '';
Listen 127.0.0.1:$tls
<VirtualHost *:$tls>
    ServerName main.test
    Protocols h2 http/1.1
    AllowEncodedSlashes NoDecode
    SSLEngine on
    SSLCertificateFile $keys/cert.pem
    SSLCertificateKeyFile $keys/key.pem
</VirtualHost>
CONF
my $httpd = httpd(
    "KeepAliveTimeout 10\nMaxKeepAliveRequests 0\n"
        . issuer_section('a', 'GateRole dev groups=devs')
        . issuer_section('b') . $secure
        . "<VirtualHost *:\@PORT\@>\n ServerName main.test\n AllowEncodedSlashes NoDecode\n</VirtualHost>\n"
        . "<VirtualHost *:\@PORT\@>\n ServerName inherits.test\n</VirtualHost>\n"
        . "<VirtualHost *:\@PORT\@>\n ServerName own.test\n"
        . issuer_section('a', 'GateIssuerURL ' . issuer_base() . '/a', 'GateAudience other', 'GateRole dev sub=dana')
        . issuer_section('mine')
        . gated('/mine/', 'GateAccept mine', 'Require valid-user')
        . "</VirtualHost>\n"
        # mod_ssl names somebody as well
        . "Listen 127.0.0.1:$certified\n<VirtualHost *:$certified>\n ServerName main.test\n SSLEngine on\n SSLCertificateFile $keys/cert.pem\n"
        . " SSLCertificateKeyFile $keys/key.pem\n SSLVerifyClient optional_no_ca\n SSLUserName SSL_CLIENT_S_DN_CN\n"
        . join('', map { gated(@$_, 'RequestHeader set X-Seen "expr=%{REMOTE_USER}|%{AUTH_TYPE}"') } [ '/cert/none/' ], [ '/cert/valid/', 'Require valid-user' ],
            [ '/cert/user/', 'Require user main.test' ], [ '/cert/expr/', q(Require expr "%{REMOTE_USER} == 'main.test'") ],
            [ '/cert/all/', 'Require all granted' ], [ '/cert/observed/', 'GateMode observe', 'Require valid-user' ])
        . "</VirtualHost>\n"
        . gated('/', 'Require valid-user')
        . gated('/dev/', 'Require gate-role dev')
        . gated('/a/', 'GateAccept a', 'Require valid-user')
        . gated('/optional/', '<RequireAny>', 'Require ip 127.0.0.1', 'Require valid-user', '</RequireAny>')
        . gated('/upgrade/', 'Require valid-user'),
    modules => [ $h2 ? 'http2' : (), 'ssl', 'socache_shmcb' ],
);

my %who = map { $_ => mint(issuer => 'a', claims => { sub => $_, $_ eq 'dana' ? (groups => ['devs']) : () }) } qw(dana eve);

# -- keep-alive: what one request was says nothing about the next
{
    my $socket = Gate::Client::connect_to($httpd->port);
    my $ask = sub {
        my ($target, $token, @more) = @_;
        my $text = "GET $target HTTP/1.1\r\nHost: main.test\r\n" . ($token ? "Authorization: Bearer $token\r\n" : '') . join('', map { "$_\r\n" } @more) . "\r\n";
        return $httpd->raw($text, socket => $socket);
    };
    for my $round (1 .. 3) {
        my $answer = $ask->('/x', $who{dana});
        is($answer->sent('X-Forwarded-User'), 'dana', "keep-alive, round $round: the first");
        $answer = $ask->('/x', $who{eve});
        is($answer->sent('X-Forwarded-User'), 'eve', 'the second on the same connection');
        is($answer->sent('X-Forwarded-Groups'), undef, 'without the roles of the first');
        refused($ask->('/x'), 401, 'token_missing', 'nobody after somebody is nobody');
        $answer = $ask->('/optional/x', undef, 'X-Forwarded-User: dana');
        passes($answer, 'a place where nobody may come');
        is($answer->sent('X-Forwarded-User'), undef, 'as nobody');
        refused($ask->('/dev/x', $who{eve}), 403, 'role', 'a role is not left over');
        is($ask->('/dev/x', $who{dana})->sent('X-Forwarded-User'), 'dana', 'and is there again');
        refused($ask->('/x', mint(issuer => 'a', mutate => 'flip_sig')), 401, 'signature', 'a bad token after a good one');
    }
    # pipelined: three requests in one write
    print {$socket} join '', map { "GET /x HTTP/1.1\r\nHost: main.test\r\n" . ($_ ? "Authorization: Bearer $who{$_}\r\n" : '') . "\r\n" } 'dana', '', 'eve';
    my @answers = map { Gate::Client::read_answer($socket, 'GET') } 1 .. 3;
    push @{ $Gate::Httpd::answers{ $httpd->port } }, @answers;
    is(join(' ', map { $_->sent('X-Forwarded-User') // $_->header('X-Gate-Reason') // '?' } @answers), 'dana token_missing eve', 'pipelined requests are each their own');
    # a body that is left over is no request
    my $inner = "GET /x HTTP/1.1\r\nHost: main.test\r\nAuthorization: Bearer $who{dana}\r\n\r\n";
    print {$socket} "POST /x HTTP/1.1\r\nHost: main.test\r\nAuthorization: Bearer $who{eve}\r\nContent-Length: " . length($inner) . "\r\n\r\n$inner";
    my $answer = Gate::Client::read_answer($socket, 'POST');
    is($answer->sent('X-Forwarded-User'), 'eve', 'a request in a body is a body');
    is($answer->upstream_saw->{body_bytes}, length $inner, 'of that length');
    refused($httpd->raw("POST /x HTTP/1.1\r\nHost: main.test\r\nContent-Length: " . length($inner) . "\r\n\r\n$inner", socket => $socket), 401, 'token_missing', 'a refused request with a body');
    # its body is no request either, whether httpd reads it to its end or closes
    print {$socket} "GET /x HTTP/1.1\r\nHost: main.test\r\n\r\n";
    my $after = Gate::Client::read_answer($socket, 'GET');
    ok($after->status == 0 || ($after->header('X-Gate-Reason') // '') eq 'token_missing', 'and what follows it is not the request in its body') or diag($after->as_string);
    push @{ $Gate::Httpd::answers{ $httpd->port } }, $after if $after->status;
}

# -- folded headers (obs-fold), and a header whose name ends in white space: httpd's, but ours to know of
for my $case (
    [ 'a folded identity header', "X-Harmless: a\r\n X-Forwarded-User: mallory\r\n" ],
    [ 'a folded value',           "X-Forwarded-User:\r\n mallory\r\n" ],
    [ 'white space in the name',  "X-Forwarded-User : mallory\r\n" ],
    [ 'a name with a NUL',        "X-Forwarded-User\0: mallory\r\n" ],
) {
    my ($name, $lines) = @$case;
    my $answer = $httpd->raw("GET /x HTTP/1.1\r\nHost: main.test\r\nAuthorization: Bearer $who{eve}\r\n${lines}Connection: close\r\n\r\n");
    ok($answer->status == 400 || ($answer->sent('X-Forwarded-User') // '') eq 'eve', "$name: refused, or only the gate's word goes on") or diag($answer->as_string);
}
my $folded = $httpd->raw("GET /x HTTP/1.1\r\nHost: main.test\r\nAuthorization: Bearer\r\n $who{eve}\r\nConnection: close\r\n\r\n");
ok($folded->status == 400 || ($folded->sent('X-Forwarded-User') // '') eq 'eve', 'a folded credential is one, or none');

# -- virtual hosts
sub at_host { my ($host, $target, $token) = @_; return $httpd->get($target, token => $token, headers => [ Host => $host ]) }
my %aud = map { $_ => mint(issuer => 'a', claims => { aud => $_ }) } qw(gate other);
passes(at_host('inherits.test', '/x', $aud{gate}), "a virtual host inherits the main server's issuers");
refused(at_host('inherits.test', '/x', $aud{other}), 401, 'audience', 'with their settings');
refused(at_host('own.test', '/x', $aud{gate}), 401, 'audience', 'an issuer of the same name replaces the inherited one, also for a token that is cached elsewhere');
passes(at_host('own.test', '/x', $aud{other}), 'with its own settings');
refused(at_host('inherits.test', '/x', $aud{other}), 401, 'audience', 'which hold there alone, cached or not');
refused(at_host('inherits.test', '/dev/x', $aud{gate}), 403, 'role', "a role of the main server's issuer");
passes(at_host('own.test', '/dev/x', $aud{other}), "a role of the virtual host's own");
passes(at_host('own.test', '/x', mint(issuer => 'b')), 'the other issuers are inherited');
passes(at_host('own.test', '/mine/x', mint(issuer => 'mine')), 'an issuer of the virtual host');
refused(at_host('own.test', '/mine/x', mint(issuer => 'b')), 401, 'issuer_not_accepted', 'accepted alone');
refused(at_host('inherits.test', '/x', mint(issuer => 'mine')), 401, 'issuer_unknown', 'is not known elsewhere');
# the cache: verified for one list of issuers is not verified for another
my $b = mint(issuer => 'b');
passes($httpd->get('/x', token => $b), 'a token of b where all are accepted');
refused($httpd->get('/a/x', token => $b), 401, 'issuer_not_accepted', 'is refused where only a is, cached or not') for 1 .. 3;

# -- a client's certificate is no token, whoever it names
my $with_cert = sub {
    my ($path, @more) = @_;
    my $text = `curl -sS -i --max-time 20 -k --cert $keys/cert.pem --key $keys/key.pem @{[ map { "-H '$_'" } @more ]} https://127.0.0.1:$certified$path`;
    my ($status) = $text =~ m{^HTTP/\S+ (\d+)};
    return join ' ', $status, $text =~ /^X-Gate-Reason: (\w+)/mi, $text =~ /"X-Seen","([^"]*)"/;
};
for my $case (
    [ none => '401 token_missing', '200 dana|Gate' ], [ valid => '401 token_missing', '200 dana|Gate' ],
    [ user => '401 token_missing', '403 rule' ],     [ expr => '401 token_missing', '403 rule' ],
    [ all => '200 |', '200 dana|Gate' ],              [ observed => '200 |', '200 dana|Gate' ],
) {
    my ($name, $without, $with) = @$case;
    is($with_cert->("/cert/$name/x"), $without, "a certificate alone, /cert/$name/");
    is($with_cert->("/cert/$name/x", "Authorization: Bearer $who{dana}"), $with, '... and with a token');
}
unlike($httpd->access_log, qr/user=main\.test/, 'nor is it logged as if it were');
expect_in_log(qr/GATE401: refused: rule/, qr/AH01630/, qr/\[ssl:warn\]/, qr/GATE20[24]/, qr/GATE403/);

# -- HTTP/2, with curl
SKIP: {
    skip 'no HTTP/2 here', 1 if !$h2;
    my $curl = sub {
        my (@with) = @_;
        my $base = "https://127.0.0.1:$tls";
        my $out = $httpd->dir . '/curl.out';
        system('curl', '-sS', '-i', '--max-time', 20, '-k', '--http2', '-o', $out, map { s/^\@/$base/r } @with);
        my $text = Gate::Httpd::slurp($out);
        return $text;
    };
    my $text = $curl->('-H', "Authorization: Bearer $who{dana}", '-H', 'X-Forwarded-User: mallory', '-H', 'x_forwarded_user: mallory', '@/x%2Fy?a=1');
    like($text, qr{^HTTP/2 200}, 'HTTP/2: a good token passes');
    like($text, qr/"X-Forwarded-User","dana"/i, 'with its identity');
    unlike($text, qr/mallory|\Q$who{dana}\E/, 'and no other, and no token');
    like($text, qr{"target":"/x%2Fy\?a=1"}, 'and its target');
    $text = $curl->('@/x');
    like($text, qr{^HTTP/2 401.*www-authenticate: Bearer realm="GitLab".*x-gate-reason: token_missing}si, 'HTTP/2: no token is refused');
    $text = $curl->('-H', "Authorization: Bearer $who{eve}", '@/dev/x');
    like($text, qr{^HTTP/2 403.*x-gate-reason: role}si, 'HTTP/2: no role is refused');
    expect_in_log(qr/GATE401: refused: role: wanted role dev/, qr/AH01630/, qr/\[ssl:warn\]/);
    # one connection, several streams, several identities
    my $other = $httpd->dir . '/curl2.out';
    my $first = $curl->('-H', "Authorization: Bearer $who{dana}", '@/x/1', '--next', '-sS', '-i', '--max-time', 20, '-k', '--http2', '-o', $other, '@/x/2');
    my $second = Gate::Httpd::slurp($other);
    like($first, qr/"dana"/, 'HTTP/2: the first stream');
    like($second, qr{^HTTP/2 401}, 'the second of the same connection is nobody');
}

finish();
