# gatectl explain on configurations as people write them: the virtual host that would answer is asked, includes are
# found as httpd finds them, and nothing that belongs to the real server is touched. The answer itself is
# 22-status-explain.t's.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Gatectl;
use File::Temp ();
use IO::Socket::INET;

my $issuers = issuer_section('okta', 'GateRole dev groups=devs');
my $dev     = mint(issuer => 'okta', claims => { sub => 'ana', groups => ['devs'] });
my $other   = mint(issuer => 'okta', claims => { sub => 'bob', groups => ['sales'] });
my $gate    = $issuers . gated('/', 'Require gate-role dev') . gated('/open/', 'Require all granted');
my $plain   = "<Location />\nRequire all granted\n</Location>\n";
my @httpd   = ('--httpd', $ENV{GATE_HTTPD} || '/usr/sbin/apache2');

sub vhost { my ($places, $name, @lines) = @_; return join "\n", "<VirtualHost $places>", ($name ? "ServerName $name" : ()), @lines, "</VirtualHost>\n" }

# (exit status, what it said) of a question about a configuration that no httpd runs with.
my $httpd;
sub explain {
    my ($config, $token, @words) = @_;
    $httpd = Gate::Httpd->new($config);
    return asked($token, @words);
}
sub asked { my ($token, @words) = @_; return gatectl($token, 'explain', @httpd, '--config', $httpd->dir . '/httpd.conf', qw(--method GET), ((grep { $_ eq '--path' } @words) ? () : qw(--path /x)), @words) }

# One line a question: what it ends with and what it says first.
sub answers {
    my ($name, $wanted, $says, @question) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($status, $said) = explain(@question);
    is($status, $wanted, $name);
    like($said, $says, 'and says so') or diag($said);
    return $said;
}

# --- the virtual host that would answer -----------------------------------------------------------------------------

answers('a virtual host with the gate on /', 0, qr/granted\nserver    gitlab\.example\.com at 443\n/, vhost('*:443', 'gitlab.example.com', $gate), $dev);
answers('and who has no role', 1, qr/refused: 403 role/, vhost('*:443', 'gitlab.example.com', $gate), $other);
answers('the gate in the main server and a rule in the virtual host', 1, qr/refused: 403 role/, $gate . vhost('*:@PORT@', 'a.example.com', '<Location />', 'Require gate-role dev', '</Location>'), $other);
my $both = vhost('*:80', 'gitlab.example.com', $plain) . vhost('*:443', 'gitlab.example.com', $gate);
answers('the same name without a gate on port 80', 1, qr/refused: 403 role/, $both, $other, '--host', 'gitlab.example.com');
answers('and without a name', 1, qr/refused: 403 role/, $both, $other);
answers('port 80 where it is asked for', 0, qr/granted\nserver    at 80\n.*not gated/, $both =~ s/Require all granted/$&\nErrorDocument 404 x/r, $other, qw(--port 80 --path /index.html));
answers('a port that is not there', 2, qr/the ports here are 80, 443/, $both, $other, qw(--port 81));
answers('a redirect on port 80', 1, qr/refused: 403 role/, $both =~ s{\Q$plain}{Redirect / https://gitlab.example.com/\n}r, $other);
answers('a default virtual host before it', 1, qr/server    gitlab\.example\.com at 443/, vhost('*:443', 'www.example.com', $plain) . vhost('_default_:443', 'gitlab.example.com:443', $gate), $other);
answers('a gate on two ports', 2, qr/name --port 80 or 443/, $issuers . vhost('*:80', 'a', gated('/', 'Require gate-role dev')) . vhost('*:443', 'a', gated('/', 'Require all granted')), $other);
answers('a gate under two names', 2, qr/name --host a or b/, $issuers . vhost('*:443', 'a', gated('/', 'Require gate-role dev')) . vhost('*:443', 'b', gated('/', 'Require all granted')), $other);
answers('one of two addresses', 1, qr/server    b at 192\.0\.2\.1:443/, $issuers . vhost('*:443', 'a', gated('/', 'Require all granted')) . vhost('192.0.2.1:443', 'b', gated('/', 'Require gate-role dev')), $other, qw(--port 192.0.2.1:443));

# --- includes and definitions ----------------------------------------------------------------------------------------

my $included = File::Temp->newdir('gate-explain-XXXXXX', TMPDIR => 1);
sub includes { my ($name, $text) = @_; return Gate::Httpd::spew("$included/$name", $text) }
my $held = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 1) or die $!;
mkdir "$included/$_" or die $! for qw(conf.d conf.d/deep);
includes('conf.d/deep/gate.conf', "GateAuditLog $included/audit.log\nGateStateDir $included/state\nListen 127.0.0.1:" . $held->sockport . "\n$gate");
includes('conf.d/.hidden.conf', "Nonsense\n");

for my $case (
    [ 'IncludeOptional with a definition', "Define CONF $included/conf.d\nIncludeOptional \${CONF}/*/*.conf\n" ],
    [ 'Include with one',                  "Define CONF \"$included/conf.d\"\nInclude \"\${CONF}/deep/gate.conf\"\n" ],
    [ 'Include of a directory',            "Include $included/conf.d/deep\n" ],
    [ 'a wildcard for a directory',        "Include $included/conf.d/[a-d]*\n" ],
    [ 'an include in <IfDefine>',          "Define HERE\n<IfDefine !HERE>\nInclude /nowhere\n</IfDefine>\n<IfDefine HERE>\nInclude $included/conf.d/deep\n</IfDefine>\n" ],
    [ 'an include in a macro',             "<Macro Gate \$what>\nInclude $included/conf.d/\$what\n</Macro>\nUse gate deep\n" ],
    [ 'an include that httpd never sees',  "<IfModule !mod_authz_core.c>\nInclude /nowhere\nInclude \${NOWHERE}\n</IfModule>\nInclude $included/conf.d/deep\n" ],
) {
    my ($name, $config) = @$case;
    answers($name, 1, qr/refused: 403 role/, $config, $other);
}
ok(!-e "$included/audit.log" && !-e $httpd->dir . '/audit.log', 'the real audit logs are not written');
ok(!-e "$included/state", 'nor is the real state');
for my $case (
    [ 'an include of what nobody defined',  "IncludeOptional \${NOWHERE}/*.conf\n$plain",                                            qr/httpd\.conf line \d+: IncludeOptional: nothing is known of the variable NOWHERE/ ],
    [ 'an include of what is gone again',   "Define NOWHERE /x\nUnDefine NOWHERE\nInclude \${NOWHERE}/x\n$plain",                    qr/Include: nothing is known of the variable NOWHERE/ ],
    [ 'an include of what only httpd knows', "<IfModule mod_authz_core.c>\nDefine A $included\nInclude \${A}/x\n</IfModule>\n$plain", qr/Include: nothing is known of the variable A/ ],
    [ 'an include of what is not there',    "Include /nowhere\n$plain",                                                              qr{Include /nowhere: there is no such file} ],
    [ 'a port that nobody defined',         vhost('*:${NOWHERE}', 'a', $plain),                                                      qr/<VirtualHost: nothing is known of the variable NOWHERE/ ],
    [ 'a macro that nobody wrote',          "Use Nothing\n$plain",                                                                   qr/there is no macro Nothing/ ],
) {
    my ($name, $config, $says) = @$case;
    answers($name, 2, $says, $config, $other);
}
unlike(answers('a directive that is none', 2, qr/Invalid command 'Nonsense'/, "Nonsense\n$plain", $other), qr/kill/, 'and nothing of what happened within');

my $defined = "<IfDefine SSL>\nInclude \${WHERE}/gate.conf\n</IfDefine>\n<IfDefine !SSL>\n$plain</IfDefine>\n";
answers('what the real httpd is told to define', 1, qr/refused: 403 role/, $defined, $other, '--define', 'SSL', '--define', "WHERE=$included/conf.d/deep");
answers('or not', 0, qr/not gated/, $defined, $other, qw(--path /index.html));

# --- no token, and what is none ------------------------------------------------------------------------------------------

answers('no token', 1, qr/refused: 401 token_missing/, $gate, '');
answers('no token in an open place', 0, qr/: granted$/m, $gate, '', qw(--path /open/x));
answers('bytes that are no text', 1, qr/refused: 401 token_malformed/, $gate, "\xff\xfe.x.y");

# --- who else can read ---------------------------------------------------------------------------------------------------

# In the place of httpd: looks at what it was given, and takes the port as another user would who was faster.
my $seen   = "$included/seen";
my $thief  = includes('thief', <<"END");
#!/usr/bin/perl
use strict; use IO::Socket::INET;
open my \$out, '>', '$seen' or die;
my (\$conf) = grep { /httpd\\.conf\$/ } \@ARGV;
(my \$dir = \$conf) =~ s{/[^/]*\$}{};
printf {\$out} "%s %o\\n", s{.*/}{}r, (stat)[2] & 07777 for \$dir, sort glob "\$dir/*";
open my \$in, '<', \$conf or die;
my (\$port) = join('', <\$in>) =~ /^Listen 127\\.0\\.0\\.1:(\\d+)/m;
my \$socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => \$port, Listen => 5) or die;
alarm 3; \$SIG{ALRM} = sub { exit 1 };
\$out->flush;
my \$victim = \$socket->accept;
print {\$out} "got a connection\\n";
END
chmod 0755, $thief;
@httpd = ('--httpd', $thief);
answers('another server on the private port', 2, qr/httpd does not start/, $gate, $dev);
my $told = Gate::Httpd::slurp($seen);
like($told, qr/^\S+ 711\n/, 'others do not list the directory');
like($told, qr/^httpd\.conf 600$/m, 'nor read the configuration');
like($told, qr/^error\.log 600\n(?:.*\n)*stderr 600$/m, 'nor the logs');
unlike($told, qr/got a connection/, 'and the token goes to nobody else');

finish();
