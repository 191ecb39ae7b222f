# What comes after a refusal: its ErrorDocument is nobody's and gets no token, whichever place it lies in; and what a
# request only looked at on its way is none of its own.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Audit;
use Gate::Port;

my $up     = upstream_base();
my $refusing = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die $!;    # an upstream that knows nobody
my $child = fork // die $!;
while (!$child) {
    Gate::Process::die_with_parent();
    my $client = $refusing->accept or next;
    while (defined(my $line = <$client>)) { last if $line eq "\r\n" }
    print $client "HTTP/1.1 401 Nobody\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
}
my $target = target('127.0.0.1:0');
my $sorry  = "ErrorDocument 401 /up/sorry\n ErrorDocument 403 /up/sorry\n ErrorDocument 407 /up/sorry\n ErrorDocument 500 /up/sorry";
sub directory { my ($name, @lines) = @_; return join "\n ", qq(<Directory "\@DIR\@/htdocs/$name">), @lines, "</Directory>\n" =~ s/^\s+//r }
my $httpd = httpd(
    issuer_section('a', 'GateRole dev groups=devs') . "$sorry\n"
        . "<Location /up/>\n ProxyPass $up/up/\n</Location>\n"
        . gated('/api/', 'GateTokenFrom bearer', 'ErrorDocument 401 /web/sorry', 'ErrorDocument 403 /web/sorry', 'Require gate-role dev')
        . gated('/web/', 'GateTokenFrom cookie:c header:X-Tok', 'Require all granted')
        . gated('/seen/', 'GateMode observe', 'GateSudo on')
        . gated('/fails/', 'Require valid-user')
        . gated('/index/', 'Require gate-role dev')
        . gated('/asked/', 'Require valid-user')
        . gated('/told/', 'ErrorDocument 403 /errs/', 'Require gate-role dev')
        . "<Location /401/>\n ProxyErrorOverride On\n ErrorDocument 401 default\n ProxyPass http://127.0.0.1:@{[ $refusing->sockport ]}/\n</Location>\n"
        . "RewriteEngine On\nRewriteCond /asked/x !-U\nRewriteRule ^/401/ - [E=LOOKED:1]\n"
        . directory('open', 'DirectoryIndex /index/x')
        . directory('files', "DirectoryIndex page.html", "<Files page.html>", 'AuthType Gate', 'AuthName x', 'Require gate-role dev', '</Files>')
        . directory('errs', 'Options +Includes', 'AddOutputFilter INCLUDES .shtml', 'DirectoryIndex page.shtml', '<Files page.shtml>', 'AuthType Gate', 'AuthName x', 'Require all granted', '</Files>')
        . directory('part', 'Options +Includes', 'AddOutputFilter INCLUDES .shtml')
        . directory('mine', 'AuthType Gate', 'AuthName x', 'Require gate-role dev', 'DirectoryIndex page.html', '<Files page.html>', 'Require valid-user', '</Files>')
        . "<Location /explain>\n AuthType Gate\n AuthName x\n SetHandler gate-explain\n Require gate-role dev\n</Location>\n"
        . "<GatePort db:1>\n AuthType Gate\n GateTarget $target\n Require gate-role dev\n</GatePort>\n",
    modules => ['include'],
);
expect_in_log(qr/GATE20[24]|AH0(?:1630|1629|1617|1374)|GATE403: would have been refused|GATE500|panic|unable to include/, qr/GATE401: refused: (?:role|token_missing)/);
for my $dir (qw(open files errs part mine)) { mkdir $httpd->dir . "/htdocs/$dir" }
$httpd->write_file("htdocs/$_/page.html", "a page\n") for qw(files mine);
$httpd->write_file('htdocs/errs/page.shtml', qq(<!--#printenv -->));
$httpd->write_file('htdocs/part/page.shtml', qq(<!--#include virtual="/up/part" -->));
my ($dev, $none) = map { mint(issuer => 'a', claims => { groups => [$_] }) } qw(devs others);

# --- in another gated place, which has other sources
for my $with ([ 'no token', 'token_missing' ], [ 'one without the role', 'role', token => $none ]) {
    my ($what, $reason, @token) = @$with;
    my $answer = $httpd->get('/api/x', @token, headers => [ Cookie => "k=1; c=$dev", 'X-Tok' => $dev ]);
    is($answer->header('X-Gate-Reason'), $reason, "$what: refused, and shown a document of another place");
    is($answer->target, '/web/sorry', '... by its upstream');
    unlike($answer->body, qr/eyJ/, '... which gets no token from the sources of its place');
    is($answer->sent('X-Forwarded-User'), undef, '... nor a name');
}

# --- where the gate itself fails
my $answer = $httpd->get('/fails/x', token => $dev, headers => [ 'X-Gate-Test-Panic' => '1', Cookie => "c=$dev" ]);
is($answer->header('X-Gate-Reason'), 'internal', 'a panic refuses');
is($answer->target, '/up/sorry', 'and the document is there');
unlike($answer->body, qr/eyJ/, 'without what may have been a token');

# --- the refusal of an index
for my $path ('/open/', '/files/') {
    $answer = $httpd->get($path);
    is($answer->header('X-Gate-Reason'), 'token_missing', "$path: the reason goes with the document");
    like($answer->header('WWW-Authenticate') // '', qr/^Bearer/, '... and the challenge');
    $answer = $httpd->get($path, token => $none);
    is($answer->header('X-Gate-Reason'), 'role', "$path: without the role too");
    is($answer->target, '/up/sorry', '... by the upstream');
    is($answer->sent('Authorization'), undef, '... which does not get the token of who was refused');
}
$answer = $httpd->get('/told/x', token => $none);
like($answer->body, qr/REQUEST_URI/, 'a document that is a directory with an index');
unlike($answer->body, qr/dana/, '... is told nobody');

# --- a look that was nobody's answer
$answer = $httpd->get('/401/x');
is($answer->status, 401, "an upstream's own 401");
is($answer->header('X-Gate-Reason'), undef, '... is not said to be the refusal of what was looked at before');

# --- a port is not answered by somebody else's page
for my $with ([ 407, undef ], [ 403, $none ]) {
    my ($status, $token) = @$with;
    $answer = (tunnel($httpd->port, 'db:1', $token, headers => [ 'Gate-Job-Token' => 'glcbt-not-for-others' ]))[0];
    is($answer->status, $status, 'a port that is refused says so, whatever ErrorDocument there is');
    unlike($answer->body, qr{/up/sorry|glcbt}, '... and nobody else has the job\'s token');
}

# --- GateMode observe goes on as nobody, and as nobody else
for my $token (undef, $none =~ s/.{4}\z/AAAA/r) {
    $answer = $httpd->get('/seen/x?sudo=root&private_token=zz&a=1', token => $token, headers => [ Sudo => 'root', 'PRIVATE-TOKEN' => 'glpat-mine-and-nobodys-else' ]);
    passes($answer, 'a place that is only observed');
    is($answer->sent('Sudo'), undef, '... has no Sudo of the client\'s');
    like($answer->target, qr/\?a=1$/, '... nor a parameter of that name');
}

# --- a part of a page takes no connection over
$answer = $httpd->get('/part/page.shtml', headers => [ Connection => 'Upgrade', Upgrade => 'websocket' ]);
like($answer->body, qr{"/up/part"}, 'a part of a page');
unlike($answer->body, qr/websocket/i, '... offers its upstream no WebSocket');

# --- an explanation of a directory is one of its index
$answer = $httpd->ask('POST', '/explain?method=GET&path=/mine/&peer=198.51.100.7', token => $dev, body => $dev);
ok(JSON::decode_json($answer->body)->{granted}, 'a directory with an index of its own rules is explained') or diag($answer->body);
is($httpd->get('/mine/', token => $dev)->status, 200, '... as it is served');
sleep 1;
is(scalar(grep { ($_->{source}{ip} // '') eq '198.51.100.7' } Gate::Audit::lines($httpd->dir . '/audit.log')), 0, '... and nobody is said to have been there');
kill KILL => $child;
waitpid $child, 0;
finish();
