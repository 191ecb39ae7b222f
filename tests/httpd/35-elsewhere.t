# CONNECT where no port is: servers without a section, names of other virtual hosts, HTTP/2, and mod_proxy, which is never
# asked while a server of the process has ports. And that httpd is left alone where none has.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Port;

my $target = target('127.0.0.1:0');
my ($open) = $target =~ /:(\d+)$/;
my %at = map { $_ => Gate::Httpd::free_port() } qw(bare proxy h2);
my $issuer = issuer_section('ci', 'GateKind gitlab', 'GateRole deployer project_path=shop/orders');
my $token  = mint(issuer => 'ci', shape => 'gitlab');
my $proxy  = "ProxyRequests On\nAllowCONNECT $open 1 80\n<Proxy \"*\">\nRequire all granted\n</Proxy>\n";

sub port { return join "\n", "<GatePort $_[0]>", "GateTarget $target", 'AuthType Gate', 'Require gate-role deployer', '</GatePort>', '' }
sub vhost { my ($name, $where, @lines) = @_; return join "\n", "Listen 127.0.0.1:$at{$where}", "<VirtualHost 127.0.0.1:$at{$where}>", "ServerName $name", @lines, '</VirtualHost>', '' }

my $httpd = httpd($issuer
        . "<VirtualHost 127.0.0.1:\@PORT\@>\nServerName ports.test\n" . port('db:1') . port('db:2') =~ s/AuthType Gate/AuthType None/r . port('db:3') =~ s/AuthType Gate\nRequire .*/Require valid-user/r . "</VirtualHost>\n"
        . "<VirtualHost 127.0.0.1:\@PORT\@>\nServerName other.test\nServerAlias db2\n<Location />\nRequire all granted\n</Location>\n</VirtualHost>\n"
        . vhost('bare.test', 'bare', "<Location />\nRequire all granted\n</Location>")
        . vhost('proxy.test', 'proxy', $proxy . port('db:1'))
        . vhost('h2.test', 'h2', 'Protocols h2c http/1.1', port('db:1')),
    modules => [ 'http2', 'proxy_connect' ]);

my ($answer, $t);
($answer, $t) = tunnel($httpd->port, 'db:1', $token);
is($answer->status, 200, 'the port is there');
$t->close;

# --- a section without the gate
for my $name ('db:2', 'db:3') {
    ($answer) = tunnel($httpd->port, $name, undef);
    refused($answer, 407, 'token_missing', "$name without AuthType Gate: nobody");
    ($answer) = tunnel($httpd->port, $name, $token);
    refused($answer, 403, 'port_unknown', '... and somebody');
    like($httpd->error_log, qr/\[\S*:warn\].*GATE231: <GatePort $name> /, '... which is told at start');
}
expect_in_log(qr/GATE231/);

# --- servers without a section
($answer) = tunnel($at{bare}, 'db:1', $token);
refused($answer, 405, 'connect', 'a server without a section');
like($answer->header('Allow'), qr/\bGET\b/, 'which says what it takes');
($answer) = tunnel($httpd->port, 'other.test:1', $token);
refused($answer, 405, 'connect', 'another virtual host, named as the target');
($answer) = tunnel($httpd->port, 'DB2:1', $token);
refused($answer, 405, 'connect', 'or by its alias');
($answer) = tunnel($at{bare}, $target, $token);
refused($answer, 405, 'connect', 'whoever it is asked for');

# --- mod_proxy
my $before = connections($target);
($answer) = tunnel($at{proxy}, $target, $token);
refused($answer, 403, 'port_unknown', 'a forward proxy with ports tunnels nowhere else');
($answer) = tunnel($at{proxy}, $target, undef);
refused($answer, 407, 'token_missing', 'nor for nobody');
($answer) = tunnel($httpd->port, $target, $token);
refused($answer, 403, 'port_unknown', 'nor does a server that is none');
($answer, $t) = tunnel($at{proxy}, 'db:1', $token);
is($answer->status, 200, 'its own port opens');
$t->say("echo\nhello");
is($t->read(5), 'hello', 'by the gate');
$t->close;
is(connections($target), $before + 1, 'and nothing else has reached the target');

# --- HTTP/2
$before = connections($target);
for my $name ('db:1', $target) {
    my $said = `/usr/bin/python3 $FindBin::RealBin/../support/h2connect.py $at{h2} $name $token`;
    note($said);
    like($said, qr/^:status: 405\nx-gate-reason: connect$/m, "CONNECT $name over HTTP/2 is refused in order");
}
is(connections($target), $before, 'nothing reached the target');
is(Gate::Client::ask($at{h2}, 'GET', '/index.html')->status, 200, 'and the server lives');
$httpd->stop;

# --- httpd is left alone where no server has a section
$httpd = httpd($issuer . $proxy, modules => [ 'proxy_connect' ]);
($answer, $t) = tunnel($httpd->port, $target, undef);
is($answer->status, 200, 'without any section mod_proxy has CONNECT as ever');
$t->close;
$httpd->stop;
$httpd = httpd($issuer . "<Location />\nRequire all granted\n</Location>\n");
($answer) = tunnel($httpd->port, $target, undef);
is($answer->status, 405, 'and so has httpd');

# --- sections that are none
for my $case (
    [ "<GatePort>\n</GatePort>",                              qr/takes one NAME:PORT/ ],
    [ "<GatePort db>\n</GatePort>",                           qr/takes one NAME:PORT/ ],
    [ "<GatePort db:1 db:2>\n</GatePort>",                    qr/takes one NAME:PORT/ ],
    [ "<GatePort db:99999>\n</GatePort>",                     qr/takes one NAME:PORT/ ],
    [ port('db:1') . port('DB:1'),                            qr/stands twice/ ],
    [ "<GatePort db:1>\n<If \"true\">\n</If>\n</GatePort>", qr/write Require expr/ ],
    [ "<Location />\n<GatePort db:1>\n</GatePort>\n</Location>", qr/GatePort.* not allowed|cannot occur within/ ],
) {
    my ($text, $says) = @$case;
    my ($status, $said) = configtest("$issuer$text\n");
    isnt($status, 0, 'not a section: ' . ($text =~ s/\n.*//sr));
    like($said, $says, 'and why');
}

# Answers from the other ports are not looked for by the harness.
expect_in_log(qr/GATE401: refused: (?:connect|port_unknown|token_missing): /, qr/AH\d+/);
finish();
