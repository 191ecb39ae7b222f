# gatectl explain on configurations as people write them: httpd reads them and chooses the virtual host, and nothing
# that belongs to the real server is touched. The answer itself is
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

answers('a virtual host with the gate on /', 0, qr/granted\nserver    gitlab\.example\.com at 443 \(\S+httpd\.conf line \d+\)\n/, vhost('*:443', 'gitlab.example.com', $gate), $dev);
answers('and who has no role', 1, qr/refused: 403 role/, vhost('*:443', 'gitlab.example.com', $gate), $other);
answers('the gate in the main server and a rule in the virtual host', 1, qr/refused: 403 role/, $gate . vhost('*:@PORT@', 'a.example.com', '<Location />', 'Require gate-role dev', '</Location>'), $other);
my $both = vhost('*:80', 'gitlab.example.com', $plain) . vhost('*:443', 'gitlab.example.com', $gate);
answers('the same name without a gate on port 80', 1, qr/refused: 403 role/, $both, $other, '--host', 'gitlab.example.com');
answers('and without a name: https', 1, qr/refused: 403 role/, $both, $other);
answers('port 80 where it is asked for', 0, qr/granted\nserver    gitlab\.example\.com at 80 .*\n.*not gated/, $both =~ s/Require all granted/$&\nErrorDocument 404 x/r, $other, qw(--port 80 --path /index.html));
answers('a port that is not there', 2, qr/--port 81: no virtual host and no Listen has this port/, $both, $other, qw(--port 81));
answers('a redirect on port 80', 1, qr/refused: 403 role/, $both =~ s{\Q$plain}{Redirect / https://gitlab.example.com/\n}r, $other);
my @two = ($issuers . vhost('*:443', 'a', gated('/', 'Require all granted')) . vhost('*:443', 'b', gated('/', 'Require gate-role dev')), $other);
answers('a gate under two names', 2, qr/name one by --host: a, b/, @two);
answers('the one that is named', 1, qr/refused: 403 role\n(?:.*\n)*server    b at 443/, @two, qw(--host b));
answers('one of two addresses', 1, qr/server    b at 443/, $issuers . vhost('*:443', 'a', gated('/', 'Require all granted')) . vhost('192.0.2.1:443', 'b', gated('/', 'Require gate-role dev')), $other, qw(--port 192.0.2.1:443));

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
    [ 'an include in a macro',             "LoadModule macro_module $ENV{GATE_HTTPD_MODULES}/mod_macro.so\n<Macro Gate \$what>\nInclude $included/conf.d/\$what\n</Macro>\nUse gate deep\n" ],
    [ 'an include that httpd never sees',  "<IfModule !mod_authz_core.c>\nInclude /nowhere\nInclude \${NOWHERE}\n</IfModule>\nInclude $included/conf.d/deep\n" ],
) {
    my ($name, $config) = @$case;
    answers($name, 1, qr/refused: 403 role/, $config, $other);
}
ok(!-e "$included/audit.log" && !-e $httpd->dir . '/audit.log', 'the real audit logs are not written');
ok(!-e "$included/state", 'nor is the real state');
answers('an include of what is not there', 2, qr{Could not open configuration file /nowhere}, "Include /nowhere\n$plain", $other);
answers('a directive that is none', 2, qr/Invalid command 'Nonsense'/, "Nonsense\n$plain", $other);

my $defined = "<IfDefine SSL>\nInclude \${WHERE}/gate.conf\n</IfDefine>\n<IfDefine !SSL>\n$plain</IfDefine>\n";
answers('what the real httpd is told to define', 1, qr/refused: 403 role/, $defined, $other, '--define', 'SSL', '--define', "WHERE=$included/conf.d/deep");
answers('or not', 0, qr/not gated/, $defined, $other, qw(--path /index.html));

# --- no token, and what is none ------------------------------------------------------------------------------------------

answers('no token', 1, qr/refused: 401 token_missing/, $gate, '');
answers('no token in an open place', 0, qr/: granted$/m, $gate, '', qw(--path /open/x));
answers('bytes that are no text', 1, qr/refused: 401 token_malformed/, $gate, "\xff\xfe.x.y");

# --- who else can read ---------------------------------------------------------------------------------------------------

# In the place of httpd: what it is given, where others could see it, and what is in its directory.
my $seen = "$included/seen";
my $spy  = includes('spy', <<"END");
#!/usr/bin/perl
use strict;
open my \$out, '>', '$seen' or die;
print {\$out} "\@ARGV\\n", map { "\$_=\$ENV{\$_}\\n" } sort keys %ENV;
printf {\$out} "directory %o\\n", (stat \$ENV{GATE_EXPLAIN_DIR})[2] & 07777;
print {\$out} "stdin ", join('', <STDIN>), "\\n";
END
chmod 0755, $spy;
@httpd = ('--httpd', $spy);
answers('an httpd that says nothing', 2, qr/httpd gave no answer/, $gate, $dev);
my ($open, $read) = split /^stdin /m, Gate::Httpd::slurp($seen);
unlike($open, qr/\Q$dev\E/, 'the token is neither an argument nor in the environment');
is($read, "$dev\n", 'it goes by stdin');
like($open, qr/^directory 711$/m, 'and others do not list the directory');
my ($dir) = $open =~ /^GATE_EXPLAIN_DIR=(.*)/m;
ok(!-e $dir, 'which is gone afterwards');

finish();
