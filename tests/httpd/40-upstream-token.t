# The upstream's own credential, Sudo, and what clients may not send beside them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Load;
use Time::HiRes qw(sleep time);
use File::Temp ();

my $dir = File::Temp->newdir('gate-upstream-XXXXXX', TMPDIR => 1);
chmod 0755, $dir;
my ($token, $other, $missing) = map { "$dir/$_" } qw(token other missing);
sub put {
    my ($file, $text) = @_;
    Gate::Httpd::spew("$file.new", $text);
    chmod 0644, "$file.new";
    rename "$file.new", $file or die "$file: $!";
    return;
}
put($token, "glpat-first-secret-000000000001\n");
put($other, "Bearer other-secret-0000000000002");

my $up = upstream_base();
my $httpd = httpd(
    issuer_section('a')
        . gated('/', 'Require valid-user')
        . gated('/api/', "GateUpstreamToken file:$token", 'GateSudo on', 'Require valid-user')
        . gated('/api/v4/own/', "GateUpstreamToken off", 'GateSudo off')
        . gated('/bearer/', "GateUpstreamToken file:$other header=Authorization paths=any", 'Require valid-user')
        . gated('/optional/', "GateUpstreamToken file:$token header=X-Up paths=any", 'GateSudo on', 'Require all granted')
        . gated('/missing/', "GateUpstreamToken file:$missing paths=any", 'Require valid-user')
        . gated('/sudo/', 'GateSudo on', 'Require valid-user')
        . gated('/watch/', 'GateMode observe', 'GateSudo on', 'Require valid-user')
        . gated('/header/', 'GateTokenFrom header:PRIVATE-TOKEN', "GateUpstreamToken file:$token paths=any", 'Require valid-user')
        . "<Location /open/>\n GateUpstreamToken file:$token\n GateSudo on\n AuthType None\n Require all granted\n ProxyPass $up/open/ nocanon\n</Location>\n"
        . "<Location /plain/>\n GateUpstreamToken file:$token\n AuthType None\n Require all granted\n ProxyPass $up/plain/\n</Location>\n"
        . "<Location /outside/>\n AuthType None\n Require all granted\n ProxyPass $up/outside/ nocanon\n</Location>\n"
        . "<Location /dead/>\n AuthType Gate\n AuthName x\n Require valid-user\n GateUpstreamToken file:$token paths=any\n GateSudo on\n ProxyPass http://127.0.0.1:9/\n ErrorDocument 503 /outside/gone\n ErrorDocument 502 /outside/gone\n</Location>\n"
        . "<Location /api/v4/err/>\n ErrorDocument 403 /outside/refused\n</Location>\n"
        . "LogFormat \"%{PRIVATE-TOKEN}i %{X-Up}i %{Sudo}i %{Authorization}i\" curious\nCustomLog curious.txt curious\n"
);
expect_in_log('all granted', 'AH01095: prefetch request body failed', 'AH01097: pass request body failed', 'AH10154: pass request body failed', qr/GATE80[13]/, 'GATE205', 'GATE202', 'GATE240', qr{AH(?:00957|01114): .*127\.0\.0\.1});
my $jwt = mint(issuer => 'a');

# -- what goes in
my $answer = $httpd->get('/api/v4/x', token => $jwt);
is($answer->sent('PRIVATE-TOKEN'), 'glpat-first-secret-000000000001', 'the credential is put in');
is($answer->sent('Sudo'), 'dana', 'and whom to act for');
is($answer->sent('Authorization'), undef, "the person's token does not go on");
is($httpd->get('/x', token => $jwt)->sent('PRIVATE-TOKEN'), undef, 'elsewhere there is none');
$answer = $httpd->get('/api/v4/own/x', token => $jwt, headers => [ 'PRIVATE-TOKEN' => 'mine' ]);
is($answer->sent('PRIVATE-TOKEN'), 'mine', 'off in a section inside');
is($answer->sent('Sudo'), undef, 'Sudo too');
is($httpd->get('/bearer/x', token => $jwt)->sent('Authorization'), 'Bearer other-secret-0000000000002', 'another header');
is($httpd->get('/sudo/x', token => $jwt)->sent('Sudo'), 'dana', 'Sudo alone');
is($httpd->get('/header/x', headers => [ 'PRIVATE-TOKEN' => $jwt ])->sent('PRIVATE-TOKEN'), 'glpat-first-secret-000000000001', "the gate's own token may come in the same header");

# -- nobody known: nothing
for my $place ('/optional/x', '/open/x') {
    my $answer = $httpd->get($place);
    passes($answer, "$place without a token passes");
    is($answer->sent($_), undef, "$place: no $_ without an identity") for qw(PRIVATE-TOKEN X-Up Sudo);
}
is($httpd->get('/optional/x', token => $jwt)->sent('X-Up'), 'glpat-first-secret-000000000001', 'with one there is');

# -- what clients may not send
for my $place ('/api/v4/x', '/optional/x', '/open/x', '/sudo/x', '/plain/x') {
    for my $with ($place =~ /api|sudo/ ? $jwt : (undef, $jwt)) {
        for my $name (qw(Sudo PRIVATE-TOKEN JOB-TOKEN), $place =~ /optional/ ? 'X-Up' : ()) {
            (my $under = $name) =~ tr/-/_/;
            my $answer = $httpd->get($place, token => $with, headers => [ map { $_ => 'mallory' } $name, lc $name, uc $name, $under, lc $under ]);
            my $saw = JSON::encode_json($answer->upstream_saw || {});
            ok($answer->upstream_saw && $saw !~ /mallory/, "$name does not get through at $place" . ($with ? ' with a token' : '')) or diag($answer->as_string);
        }
        for my $key (qw(sudo private_token access_token bearer_token job_token %73udo private%5ftoken access%5Ftoken SUDO %5Bsudo%5D sudo%5B%5D)) {
            for my $query ("$key=mallory", "a=1&$key=mallory&b=%2F", "$key=mallory;$key=mallory") {
                my $answer = $httpd->get("$place?$query", token => $with);
                ok($answer->upstream_saw && $answer->target !~ /mallory/, "?$query does not get through at $place") or diag($answer->as_string);
            }
        }
    }
}
like($httpd->get('/api/v4/x?a=1&sudo=root&b=%2F', token => $jwt)->target, qr/\?a=1&b=%2F$/, 'what else the query says stays');
like($httpd->get('/outside/x?sudo=1&private_token=2', headers => [ Sudo => 'x' ])->target, qr/sudo=1&private_token=2/, 'elsewhere clients keep their own');
$httpd->get("/open/x?b=1&$_=glpat-own-secret-6&c=2") for qw(private_token access_token job_token %6aob_token);
sleep 0.5;    # httpd logs after it has answered
is(scalar(() = $httpd->access_log =~ m{GET /open/x\?b=1&c=2 HTTP}g), 4, 'nor is it logged, whoever it belongs to');
is($httpd->get('/outside/x', headers => [ 'PRIVATE-TOKEN' => 'mine' ])->sent('PRIVATE-TOKEN'), 'mine', 'headers too');
for my $name (qw(PRIVATE-TOKEN Sudo private-token SUDO)) {
    my $answer = $httpd->get('/api/v4/x', token => $jwt, headers => [ Connection => "close, $name" ]);
    ok(defined $answer->sent('PRIVATE-TOKEN') && defined $answer->sent('Sudo'), "Connection: $name drops nothing");
    for my $end (';', ' ', "\t", '"x" ') {
        my $answer = $httpd->get('/api/v4/x', token => $jwt, headers => [ Connection => "close$end$name" ]);
        is($answer->sent('Sudo'), 'dana', "nor does $name after '$end' drop the person whom the gate's credential acts for");
        ok(defined $answer->sent('PRIVATE-TOKEN'), '... nor the credential');
    }
}

# -- Sudo takes digits for the number of an account
for my $user ('1', '00017', 'da na', 'a,b', "dana\x{a0}", "\x{212a}ate") {
    refused($httpd->get('/api/v4/x', token => mint(issuer => 'a', claims => { sub => $user })), 403, 'sudo_user', "'$user' is no name for Sudo");
}
is($httpd->get('/api/v4/x', token => mint(issuer => 'a', claims => { sub => 'dana@example.com' }))->sent('Sudo'), 'dana@example.com', 'an address is one');
my $answer_403 = $httpd->get('/api/v4/err/x', token => mint(issuer => 'a', claims => { sub => '1' }));
ok($answer_403->upstream_saw && !defined $answer_403->sent('PRIVATE-TOKEN'), 'an ErrorDocument elsewhere does not get the credential');

my $dead = $httpd->get('/dead/x', token => $jwt);
ok($dead->upstream_saw, 'an ErrorDocument for an upstream that is not there') or diag($dead->as_string);
is($dead->sent($_), undef, "does not get the $_ that was for that one") for qw(PRIVATE-TOKEN Sudo);

# -- GitLab takes sudo from a body too
my $boundary = "--x\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\nroot\r\n--x--\r\n";
for my $body (
    [ 'application/x-www-form-urlencoded', 'a=1&sudo=root',              'a=sudo&b=2' ],
    [ undef,                               'sudo=root',                  'a=1' ],
    [ 'application/json',                  '{"a":1,"s\u0075do":"root"}', '{"a":"sudo","b":{"sudo":1}}' ],
    [ 'multipart/form-data; boundary=x',   sprintf($boundary, 'sudo'),   sprintf($boundary, 'file') ],
) {
    my ($type, $bad, $good) = @$body;
    my @type = defined $type ? ('Content-Type' => $type) : ();
    my $name = $type // 'no type';
    refused($httpd->ask('POST', '/api/v4/x', token => $jwt, headers => [@type], body => $bad), 400, 'sudo_body', "$name: a body may not say whom to act for");
    my $chunked = sprintf "%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", 3, substr($bad, 0, 3), length($bad) - 3, substr $bad, 3;
    refused($httpd->ask('POST', '/api/v4/x', token => $jwt, headers => [ @type, 'Transfer-Encoding' => 'chunked' ], body => $chunked), 400, 'sudo_body', "$name: nor in chunks");
    my $answer = $httpd->ask('POST', '/api/v4/x', token => $jwt, headers => [@type], body => $good);
    ok($answer->status == 200 && ($answer->upstream_saw || {})->{body} eq $good, "$name: another one arrives whole") or diag($answer->as_string);
}
refused($httpd->ask('POST', '/watch/x', token => $jwt, body => 'sudo=root'), 400, 'sudo_body', 'nor where the gate only observes: half a body is nothing to pass on');
is(($httpd->ask('POST', '/api/v4/own/x', token => $jwt, body => 'sudo=1')->upstream_saw || {})->{body}, 'sudo=1', 'elsewhere bodies are not looked at');

# -- what would make it another body behind the gate
for my $connection ('Content-Type', 'close, content-type', 'close;content-type', 'content-type close') {
    my $typed = $httpd->ask('POST', '/api/v4/x', token => $jwt, headers => [ Connection => $connection, 'Content-Type' => 'text/plain' ], body => '{"sudo":"root"}');
    is($typed->sent('Content-Type'), 'text/plain', "Connection: $connection does not take the type away that the body was judged by");
}
is($httpd->ask('POST', '/api/v4/x', token => $jwt, headers => [ 'Content-Type' => 'text/plain', Content_Type => 'application/json' ], body => '{}')->sent('Content_Type'), undef, 'nor is there a second type');
{
    my $moved = httpd(issuer_section('a') . "<Location /down/>\n ProxyPass http://127.0.0.1:9/\n ErrorDocument 503 /api/v4/user\n</Location>\n"
            . gated('/api/', "GateUpstreamToken file:$token", 'GateSudo on', 'Require valid-user')
            . gated('/pages/', 'KeptBodySize 100000', 'Require valid-user') =~ s/ProxyPass.*//r =~ s/(KeptBodySize)/Options +Includes\n SetOutputFilter INCLUDES\n $1/r,
        modules => [qw(include request)]);
    mkdir $moved->dir . '/htdocs/pages';
    $moved->write_file('htdocs/pages/p.shtml', '<!--#include virtual="/api/v4/user" -->');
    expect_in_log(qr/AH00957|AH01114|unable to include|AH01374|GATE401: refused: sudo_body/);    # a part has no client to tell
    for my $path ('/down/x', '/pages/p.shtml') {
        my @form = (token => $jwt, headers => [ 'Content-Type' => 'application/x-www-form-urlencoded' ]);
        my $went = $moved->ask('POST', $path, @form, body => 'sudo=root');
        unlike($went->body, qr/sudo=root/, "$path: a body that was read before does not go past the guard");
        like($moved->ask('POST', $path, @form, body => 'a=b')->body, qr{/api/v4/user}, '... though the request does');
    }
}

# -- GitLab unpacks some bodies before it reads them
for my $type ([], [ 'Content-Type' => 'application/json' ]) {
    refused($httpd->ask('POST', '/api/v4/x', token => $jwt, headers => [ @$type, 'Content-Encoding' => 'gzip' ], body => "\x1f\x8bno one knows"), 400, 'sudo_body', 'a packed body is not seen through');
}
is(($httpd->ask('POST', '/api/v4/x', token => $jwt, headers => [ 'Content-Type' => 'application/x-git-upload-pack-request', 'Content-Encoding' => 'gzip' ], body => 'packed')->upstream_saw || {})->{body}, 'packed', "git's own is none of GitLab's parameters");
is($httpd->ask('POST', '/api/v4/x', token => $jwt, headers => [ 'Content-Type' => 'text/plain', Content_Encoding => 'gzip' ], body => 'x')->sent('Content_Encoding'), undef, 'nor is there a second coding');

# -- nor does mod_status show, while a request runs, what no log may hold
{
    my $shown = httpd(issuer_section('a') . "ExtendedStatus On\n<Location /server-status>\n SetHandler server-status\n</Location>\n"
            . gated('/-/slow/', 'GateTokenFrom query:t', "GateUpstreamToken file:$token paths=any", 'Require valid-user'), modules => ['status']);
    my $socket = Gate::Client::connect_to($shown->port);
    print {$socket} "GET /-/slow/2000?t=$jwt&private_token=glpat-of-the-client HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    sleep 0.7;
    my $page = $shown->get('/server-status')->body;
    like($page, qr{GET /-/slow/2000 HTTP}, 'mod_status shows the request');
    unlike($page, qr/eyJ|glpat/, 'and nothing of its tokens');
    is(Gate::Client::read_answer($socket, 'GET')->status, 200, 'which goes on meanwhile');
}

# -- as Rack itself reads it: what the gate lets through says no sudo, and comes as this person's
my $rack = Gate::Process->start_listening('ruby', "$FindBin::RealBin/../support/gitlab_web.rb", '', 'RS256', 'https://x.test/');
my $to_rack = httpd(issuer_section('a') . "<Location />\n AuthType Gate\n AuthName x\n GateSudo on\n Require valid-user\n ProxyPass http://@{[ $rack->address ]}/ nocanon\n</Location>\n");
my ($rack_port) = $rack->address =~ /:(\d+)$/;
my $disposition = 'Content-Disposition: form-data; name="sudo"';
my $multipart = 'multipart/form-data; boundary=x';
for my $case (
    [ 'POST', 'application/x-www-form-urlencoded',                        'a=1&%73ud%6f=root' ],
    [ 'POST', 'application/x-www-form-urlencoded',                        '[sudo]=root' ],
    [ 'POST', 'application/x-www-form-urlencoded',                        '& sudo=root' ],
    [ 'POST', 'application/x-www-form-urlencoded;multipart/form-data',    'sudo=root' ],
    [ 'POST', 'application/x-www-form-urlencoded, application/json',      'sudo=root' ],
    [ 'GET',  'application/x-www-form-urlencoded',                        'sudo=root' ],
    [ 'POST', undef,                                                      'sudo=root' ],
    [ 'PUT',  undef,                                                      '{"sudo":"root"}' ],
    [ 'POST', undef,                                                      '{"sudo":"root"}' ],
    [ 'PUT',  undef,                                                      qq(//\rz\n{"sudo":"root"}) ],
    [ 'PUT',  undef,                                                      " \n{\"a\":1,\"s\\u0075do\":\"root\"}" ],
    [ 'POST', 'application/json; x=multipart/form-data',                  '{"sudo":"root"}' ],
    [ 'POST', 'application/json, multipart/form-data; boundary=x',        '{"sudo":"root"}' ],
    [ 'POST', 'APPLICATION/JSON',                                         '{"sudo":"me","sudo":"root"}' ],
    [ 'POST', $multipart,                                                 "--x\r\n$disposition\r\n\r\nroot\r\n--x--\r\n" ],
    [ 'POST', $multipart,                                                 " \t--x\r\n$disposition\r\n\r\nroot\r\n--x--\r\n" ],
    [ 'POST', $multipart,                                                 "--x\r\n\r\n$disposition\r\n\r\nroot\r\n--x--\r\n" ],
    [ 'POST', $multipart,                                                 "--x\r\nA: b\n\n$disposition\r\n\r\nroot\r\n--x--\r\n" ],
    [ 'POST', $multipart,                                                 "--x\r\nContent-ID: sudo\r\n\r\nroot\r\n--x--\r\n" ],
    [ 'POST', 'multipart/form-data; boundary= x',                         "-- x\r\n$disposition\r\n\r\nroot\r\n-- x--\r\n" ],
) {
    my ($method, $type, $body) = @$case;
    my @with = (headers => [ defined $type ? ('Content-Type' => $type) : () ], body => $body);
    my $name = "$method " . ($type // 'no type') . ' ' . substr $body =~ s/[^ -~]/?/gr, 0, 40;
    my $alone = eval { JSON::decode_json(Gate::Client::ask($rack_port, $method, '/api/v4/sudo', @with)->body) } || {};
    refused($to_rack->ask($method, '/api/v4/sudo', token => $jwt, @with), 400, 'sudo_body', $name) if $alone->{sudo};
    is($alone->{sudo}, 'root', "$name: Rack reads it") unless $type && $type =~ /, app|= x/;
}
for my $name ('Sudo', 'sudo', 'SUDO', "Content-Type: text/plain\r\nContent_Type: application/json", "Content_Type: application/json\r\nContent-Type: text/plain", "Sudo:\r\n root\r\nSudo", "X-A: b\r\nsudo", 'Su_do', 'HTTP_SUDO') {
    my $field = $name =~ /Content/ ? "$name\r\nContent-Length: 15" : "$name: root";
    my $answer = $to_rack->raw("POST /api/v4/sudo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $jwt\r\nConnection: close\r\n$field\r\n\r\n" . ($name =~ /Content/ ? '{"sudo":"root"}' : ''));
    my $said = eval { JSON::decode_json($answer->body) } || {};
    my $shown = $name =~ s/\s+/ /gr;
    ok($answer->status == 400 || ($answer->status == 200 && $said->{header} eq 'dana' && !$said->{sudo}), "the header $shown makes nobody else") or diag($answer->as_string);
}
my $script = "#!/bin/sh\ntrue; sudo make&sudo=1\n";
is(($httpd->ask('PUT', '/api/v4/x', token => $jwt, body => $script)->upstream_saw || {})->{body}, $script, 'a file without a type is no form');
is($httpd->ask('POST', '/api/v4/x', token => $jwt, headers => [ 'Content-Type' => 'text/plain', $_ => 'application/json' ], body => 'x')->sent($_), undef, "no $_ beside Content-Type") for qw(Content_Type content.type);
is(JSON::decode_json($to_rack->ask('POST', '/api/v4/sudo', token => $jwt, body => 'a=1')->body)->{header}, 'dana', 'Rack is told who it is');
$rack->stop;
my $long = '{"content":"' . ('x' x 3_000_000) . '"}';
is(($httpd->ask('POST', '/api/v4/x', token => $jwt, headers => [ 'Content-Type' => 'application/json' ], body => $long)->upstream_saw || {})->{body_bytes}, length $long, 'a long one too');

# -- the file
refused($httpd->get('/missing/x', token => $jwt), 503, 'credential_unavailable', 'a file that was never there: 503, not a request without the credential');
put($missing, 'glpat-late-secret-0000000000003');
ok(soon(sub { ($httpd->get('/missing/x', token => $jwt)->sent('PRIVATE-TOKEN') // '') eq 'glpat-late-secret-0000000000003' }), 'it is in force soon after it comes');

my $is = sub { ($_[0]->sent('PRIVATE-TOKEN') // '') =~ /^glpat-($_[1])-/ };
my $load = Gate::Load->start(clients => 3, ask => sub { $httpd->get('/api/v4/x', token => $jwt) }, good => sub { $_[0]->status == 200 && $is->($_[0], 'first|second') });
sleep 0.5;
put($token, "glpat-second-secret-00000000004\n");
my $changed = time;
ok(soon(sub { $is->($httpd->get('/api/v4/x', token => $jwt), 'second') }), 'a rotated credential comes into force without a restart');
note(sprintf 'after %.1f s', time - $changed);
cmp_ok(time - $changed, '<', 4, 'soon');
sleep 1;
my ($asked, @bad) = $load->stop;
ok($asked > 20 && !@bad, "and without a failed request of $asked") or diag(join "\n", @bad);
sleep 1.5;    # every child has seen it
for my $bad ('', "two\nlines\n", "x" x 4097, "nul\0", "tab\t", "caf\xc3\xa9") {
    put($token, $bad);
    sleep 1.3;
    like($httpd->get('/api/v4/x', token => $jwt)->sent('PRIVATE-TOKEN'), qr/^glpat-second/, 'an unfit file changes nothing: ' . substr $bad =~ s/[^ -~]/?/gr, 0, 10);
}
unlink $token;
sleep 1.3;
like($httpd->get('/api/v4/x', token => $jwt)->sent('PRIVATE-TOKEN'), qr/^glpat-second/, 'nor does one that is gone');
put($token, 'glpat-third-secret-000000000005');
utime time - 31 * 86400, time - 31 * 86400, $token;
ok(soon(sub { $httpd->get('/api/v4/x', token => $jwt)->sent('PRIVATE-TOKEN') =~ /third/ }), 'the next good one is');
ok($httpd->wait_for_log(qr/GATE803: GateUpstreamToken \Q$token\E: it was written 31 days ago/, 5), 'an old one is warned of');
sleep 2.5;
my $warnings = () = $httpd->error_log =~ /GATE803/g;
is($warnings, 1, 'once, whatever the number of children');

sub soon {
    my ($holds) = @_;
    my $until = time + 10;
    while (time < $until) { return 1 if $holds->(); sleep 0.1 }
    return 0;
}

# -- what can't be written
for my $case (
    [ 'GateUpstreamToken',                          'takes file:PATH' ],
    [ 'GateUpstreamToken token',                    'write file: and an absolute path' ],
    [ 'GateUpstreamToken file:token',               'write file: and an absolute path' ],
    [ 'GateUpstreamToken file:/x header=Host',      'carries the request itself' ],
    [ 'GateUpstreamToken file:/x header="a b"',     'no header name' ],
    [ 'GateUpstreamToken file:/x more',             'takes file:PATH' ],
    [ 'GateSudo perhaps',                           'write on or off' ],
    [ 'GateSudo on jobs',                           'write on or off' ],
    [ 'GateUpstreamToken file:/x paths=some',       'takes file:PATH' ],
) {
    my ($status, $out) = configtest(issuer_section('a') . gated('/', $case->[0], 'Require valid-user'));
    ok($status != 0 && $out =~ /\Q$case->[1]\E/, "$case->[0] is refused") or diag($out);
}
my ($status, $out) = configtest(issuer_section('a') . gated('/', 'GateUpstreamToken file:/nonexistent', 'Require valid-user'));
ok($status == 0 && $out =~ /GATE205.*nonexistent/, 'a file that is not there is warned of') or diag($out);

# -- a forward proxy leads wherever the client says
my $forward = httpd("ProxyRequests On\nGateUpstreamToken file:$token paths=any\nGateSudo on\n" . issuer_section('a')
        . qq(<Proxy "*">\n AuthType Gate\n AuthName x\n GateTokenFrom proxy\n Require valid-user\n</Proxy>\nProxyPass /here/ $up/here/\n));
my @pass = (headers => [ 'Proxy-Authorization' => "Bearer $jwt", 'PRIVATE-TOKEN' => 'mine' ]);
my $elsewhere = $forward->ask('GET', $up =~ s/127\.0\.0\.1/localhost/r . '/x', @pass);
passes($elsewhere, 'a forward proxy');
isnt($elsewhere->sent('PRIVATE-TOKEN') // '', 'glpat-first-secret-000000000001', "gives the gate's credential to nobody");
is($elsewhere->sent('Sudo'), undef, 'nor says whom to act for');
ok($forward->get('/here/x', @pass)->sent('Sudo'), 'what is proxied from here has both');

my $curious = Gate::Httpd::slurp($httpd->dir . '/curious.txt');
unlike($curious . $httpd->error_log . $httpd->access_log, qr/-secret-/, 'no log holds a credential, not even one that logs headers');
finish();
