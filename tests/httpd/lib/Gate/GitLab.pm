package Gate::GitLab;

# What tests of docs/examples/gitlab.conf share: a place to work in, clients that may not hang, the gate itself.

use strict;
use warnings;
use Cwd ();
use Exporter 'import';
use File::Temp ();
use FindBin;
use Test::More;
use Gate::Httpd   ();
use Gate::Process ();

our @EXPORT = qw(place run works fails gate_for workhorse_for repository keys_of_gitlab person job support);

my $root = Cwd::abs_path("$FindBin::RealBin/../..");
my $dir;

# A directory for the test, with a home in which no setting of this machine's is found.
sub place {
    return $dir if $dir;
    $dir = File::Temp->newdir('gate-gitlab-XXXXXX', TMPDIR => 1);
    chmod 0755, $dir;
    mkdir "$dir/home";
    @ENV{qw(HOME XDG_RUNTIME_DIR XDG_CONFIG_HOME)} = ("$dir/home") x 3;
    @ENV{qw(GIT_TERMINAL_PROMPT GIT_CONFIG_NOSYSTEM)} = (0, 1);
    delete @ENV{qw(http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY)};
    return $dir;
}

sub support { return "$root/tests/support/$_[0]" }

# run('command line') -> (exit status, output); nothing may hang.
sub run {
    my ($command) = @_;
    my $out = place() . '/out';
    unlink $out;
    my $process = Gate::Process->start({ out => $out }, 'sh', '-c', "cd $dir && $command");
    $process->wait_gone(60) or do { $process->stop; return (-1, "no end in 60 s\n" . Gate::Httpd::slurp($out)) };
    return ($process->{status} >> 8, Gate::Httpd::slurp($out));
}

sub works {
    my ($command, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($status, $out) = run($command);
    is($status, 0, $name) or diag($out);
    return $out;
}

# The client ends by itself, with its own words, and shows no page.
sub fails {
    my ($command, $words, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($status, $out) = run($command);
    ok($status > 0 && $out =~ $words && $out !~ /<html|<!doctype/i, $name) or diag("exit $status: $out");
    return $out;
}

# The example in front of that workhorse. options: registry, port, tls, secrets => { file => text }, define =>
# { NAME => value }, names => other names in the certificate, more => lines at the virtual host's end.
sub gate_for {
    my ($workhorse, %with) = @_;
    my $port    = $with{port} || Gate::Httpd::free_port();
    my $secrets = place() . '/secrets';
    mkdir $secrets;
    my %secret = ('login.pem' => Gate::Httpd::slurp(support('keys/rs1.pem')), %{ $with{secrets} || {} });
    for my $name (keys %secret) {
        Gate::Httpd::spew("$secrets/$name", $secret{$name});
        chmod $name =~ /pem/ ? 0600 : 0644, "$secrets/$name";
    }
    if ($with{tls}) {
        my @made = (qw(openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext), "subjectAltName=" . join(",", "IP:127.0.0.1", map { "DNS:$_" } "localhost", @{ $with{names} || [] }), qw(-addext basicConstraints=CA:FALSE -keyout), "$secrets/tls.key", '-out', "$secrets/tls.crt");
        system("@made 2>/dev/null") == 0 or die 'openssl';
    }
    my %define = (
        GATE_NAME => '127.0.0.1', GATE_PORT => $port, WORKHORSE => $workhorse, REGISTRY => $with{registry} || '127.0.0.1:9',
        REGISTRY_NAME => 'localhost', GATE_SECRETS => $secrets, PEOPLE => Gate::issuer_base() . '/people',
        CI => ($with{tls} ? 'https' : 'http') . "://127.0.0.1:$port", %{ $with{define} || {} });
    my $define = join '', map { "Define $_ $define{$_}\n" } sort keys %define;
    $define .= "Define GatePlain\n" unless $with{tls};
    # As it is shipped, but for the directory of the log, which each test has for itself.
    my $text = Gate::Httpd::slurp("$root/docs/examples/gitlab.conf") =~ s{/var/log/gitlab-gate}{\@DIR\@}gr;
    $text =~ s{(?=^</VirtualHost>)}{$with{more}}m if $with{more};
    return Gate::httpd($define . $text, port => $port, $with{tls} ? (modules => ['ssl']) : ());
}

# An httpd that stands for Workhorse: git's repositories, to be asked with these accounts (name => password), and the
# stand-in behind it.
sub workhorse_for {
    my ($stand_in, %account) = @_;
    my $repos = place() . '/repos';
    Gate::Httpd::spew("$dir/htpasswd", join '', map { "$_:" . `openssl passwd -apr1 $account{$_}` } sort keys %account);
    mkdir $repos;
    system("chmod -R a+rwX $repos && chmod 755 $dir/home") == 0 or die 'chmod';
    system("chown -R www-data $repos") if $> == 0;
    my ($backend) = grep { -x } '/usr/lib/git-core/git-http-backend', '/usr/libexec/git-core/git-http-backend';
    return Gate::httpd(<<"CONF", without_gate => 1, mpm => 'prefork', modules => [qw(cgi auth_basic authn_file)]);
SetEnv GIT_PROJECT_ROOT $repos
SetEnv GIT_HTTP_EXPORT_ALL 1
ScriptAliasMatch "^/(.+\\.git/(?:HEAD|info/refs|objects/.*|git-upload-pack|git-receive-pack))\$" $backend/\$1
<LocationMatch "\\.git/(?:HEAD|info/refs|objects/|git-)">
    AuthType Basic
    AuthName GitLab
    AuthUserFile $dir/htpasswd
    Require valid-user
</LocationMatch>
ProxyPreserveHost On
ProxyPassMatch "^/.+\\.git/(?:HEAD|info/refs|objects/|git-)" !
@{[ keys_of_gitlab() ]}
ProxyPass / http://$stand_in/ nocanon
CONF
}

# A bare repository of GitLab's.
sub repository {
    my ($path) = @_;
    my $at = place() . "/repos/$path.git";
    system("git init -q --bare $at && git -C $at config http.receivepack true") == 0 or die 'git init';
}

# For the httpd that stands for Workhorse: the keys that sign CI tokens.
sub keys_of_gitlab { return 'ProxyPass /oauth/discovery/keys ' . Gate::issuer_base() . '/ci/jwks' }

# What a token of Dana's says.
sub person {
    return (issuer => 'people', claims => { aud => 'https://gate.example.com', preferred_username => 'dana', groups => ['gitlab-devs'], email => 'dana@example.com', name => 'Dana D' }, @_);
}

# What a token of a CI job says: its issuer is GitLab at this address, the gate's own.
sub job {
    my ($gitlab, %claims) = @_;
    return (issuer => 'ci', shape => 'gitlab', claims => { iss => $gitlab, aud => 'https://gate.example.com', %claims });
}

1;
