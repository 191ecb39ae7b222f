package Gate::Httpd;

# A httpd with a configuration of the test's own, on a free port of loopback, in a temporary directory.

use strict;
use warnings;
use Cwd ();
use File::Basename qw(basename);
use File::Path qw(make_path);
use File::Temp ();
use IO::Socket::INET;
use Time::HiRes qw(sleep time);
use Gate::Client  ();
use Gate::Process ();

our %answers;    # port => the answers that came from there

my @MODULES = qw(
    authn_core authz_core authz_host authz_user mime dir alias env setenvif headers rewrite unique_id
    proxy proxy_http
);
my %taken;

sub mpm { return $ENV{GATE_TEST_MPM} || 'event' }

# A port that is free now, and that no other call of this process has given.
sub free_port {
    for (1 .. 50) {
        my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Proto => 'tcp', Listen => 1) or next;
        my $port = $socket->sockport;
        return $port unless $taken{$port}++;
    }
    die 'no free port';
}

# options: port, mpm, modules => [...] (more of httpd's), lacks => [...] (fewer), without_gate, without_audit (no directive of
# the module but those written), head (text before ours), log_level.
sub new {
    my ($class, $config, %options) = @_;
    my $dir = File::Temp->newdir('gate-test-XXXXXX', TMPDIR => 1);
    chmod 0755, $dir;
    make_path(map { "$dir/$_" } qw(run htdocs));
    my $self = bless { dir => $dir, port => $options{port} || free_port(), options => \%options }, $class;
    $self->write_file('htdocs/index.html', "hello\n");
    $self->configure($config);
    return $self;
}

sub modules_dir { return $ENV{GATE_HTTPD_MODULES} || '/usr/lib/apache2/modules' }

# Writes the configuration anew, for a restart. @PORT@ and @DIR@ in it are filled in.
sub configure {
    my ($self, $config) = @_;
    my $options = $self->{options};
    my $mpm = $options->{mpm} || mpm();
    my %lacks = map { $_ => 1 } @{ $options->{lacks} || [] };
    my @lines = (
        "ServerRoot $self->{dir}", 'DefaultRuntimeDir run', 'PidFile httpd.pid', "ServerName 127.0.0.1:$self->{port}",
        map { sprintf 'LoadModule %s_module %s/mod_%s.so', $_, modules_dir(), $_ }
            grep { !$lacks{$_} } "mpm_$mpm", @MODULES, @{ $options->{modules} || [] });
    push @lines, "LoadModule gitlab_gate_module $ENV{GATE_MODULE}" unless $options->{without_gate};
    push @lines, 'User www-data', 'Group www-data' if $> == 0;
    push @lines, "Listen 127.0.0.1:$self->{port}", 'DocumentRoot htdocs', 'TypesConfig /etc/mime.types', 'ErrorLog error.log';
    push @lines, 'LogLevel ' . ($options->{log_level} || 'notice' . ($options->{without_gate} ? '' : ' gitlab_gate:debug'));
    push @lines, 'LogFormat "%a \"%r\" %>s user=%u gate=%{GATE_USER}e id=%{UNIQUE_ID}e" test', 'CustomLog access.log test';
    push @lines, 'MaxMemFree 1';    # what a pool gave back is not there any more
    push @lines, 'KeepAliveTimeout 2', 'Timeout 20', 'AllowEncodedSlashes NoDecode', 'ServerLimit 8';
    push @lines, $mpm eq 'prefork' ? ('StartServers 2', 'MinSpareServers 1', 'MaxSpareServers 4', 'MaxRequestWorkers 8') : ('StartServers 2', 'ThreadsPerChild 8', 'ThreadLimit 8', 'MaxRequestWorkers 32');
    push @lines, 'MinSpareThreads 1', 'MaxSpareThreads 32' unless $mpm eq 'prefork';
    # Each test's decisions are written down, so that finish() can look at every line.
    push @lines, "GateAuditLog $self->{dir}/audit.log" unless $options->{without_gate} || $options->{without_audit} || $config =~ /^\s*GateAuditLog\b/m;
    push @lines, $options->{head} if $options->{head};
    $config =~ s/\@PORT\@/$self->{port}/g;
    $config =~ s/\@DIR\@/$self->{dir}/g;
    $self->{first_line} = 1 + scalar split /\n/, join "\n", @lines;
    $self->write_file('httpd.conf', join "\n", @lines, $config, '');
    return;
}

sub start {
    my ($class, $config, %options) = @_;
    my $self = $class->new($config, %options);
    $self->launch;
    return $self;
}

# Starts the project's example configuration, which takes its places and ports as definitions.
sub start_example {
    my ($class, $file, $issuer, $upstream) = @_;
    my $self = $class->new('');
    $self->{definitions} = [ map { ('-C', "Define $_") } (
        "Root $self->{dir}", "Module $ENV{GATE_MODULE}", "Modules " . modules_dir(), 'Mpm ' . mpm(),
        "GatePort $self->{port}", "Issuer $issuer", "Upstream $upstream", $> == 0 ? 'RunAs www-data' : ()) ];
    $self->{file} = Cwd::abs_path($file);
    $self->launch;
    push @Gate::httpds, $self;
    return $self;
}

sub httpd_binary { return $ENV{GATE_HTTPD} || '/usr/sbin/apache2' }

sub command {
    my ($self, @more) = @_;
    my $file = $self->{file} || "$self->{dir}/httpd.conf";
    return (httpd_binary(), '-d', "$self->{dir}", @{ $self->{definitions} || [] }, '-f', $file, @more);
}

# Starts it and waits until it answers.
sub launch {
    my ($self) = @_;
    local $ENV{MALLOC_PERTURB_} = 165;    # nor what it was
    $self->{process} = Gate::Process->start({ out => "$self->{dir}/stderr.log" }, $self->command('-DFOREGROUND'));
    my $until = time + 20;
    while (time < $until) {
        if (!$self->{process}->alive) {
            die "httpd did not start (wait status $self->{process}{status}):\n" . $self->stderr . $self->error_log;
        }
        return if -s "$self->{dir}/httpd.pid" && IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, Timeout => 1);
        sleep 0.02;
    }
    die "httpd does not listen:\n" . $self->stderr . $self->error_log;
}

# (exit status, output) of `httpd -t` with this configuration; the output says our own text's lines from 1.
sub configtest {
    my ($class, $config, %options) = @_;
    my $self = $class->new($config, %options);
    my $out = "$self->{dir}/configtest.out";
    my $process = Gate::Process->start({ out => $out }, $self->command('-t'));
    $process->wait_gone(30) or do { $process->stop; return (-1, 'no end in 30 s') };
    my $text = slurp($out) . $self->error_log;
    my $before = $self->{first_line} - 1;
    $text =~ s/(\bline )(\d+)( of \S*httpd\.conf)/$1 . ($2 - $before) . $3/ge;
    return ($process->{status} >> 8, $text);
}

# (exit status, output) of a real start that is expected to fail (post_config runs there, not in `-t`).
sub start_fails {
    my ($class, $config, %options) = @_;
    my $self = $class->new($config, %options);
    my $process = Gate::Process->start({ out => "$self->{dir}/stderr.log" }, $self->command('-DFOREGROUND'));
    my $ended = $process->wait_gone(5);
    $process->stop;
    return ($ended ? $process->{status} >> 8 : 0, $self->stderr . $self->error_log);
}

sub port { return $_[0]{port} }
sub dir  { return "$_[0]{dir}" }
sub get  { my ($self, $target, @with) = @_; return Gate::Client::ask($self->{port}, 'GET', $target, @with) }
sub ask  { my ($self, @with) = @_; return Gate::Client::ask($self->{port}, @with) }
sub raw  { my ($self, @with) = @_; return Gate::Client::raw($self->{port}, @with) }

# signal('HUP'), or 'USR1' for a graceful restart.
sub signal { my ($self, $name) = @_; kill $name => $self->{process}->pid; return }

# Restarts and waits until the new generation is there.
sub restart {
    my ($self, $signal) = @_;
    my $before = -s "$self->{dir}/error.log" || 0;
    $self->signal($signal || 'USR1');
    my $until = time + 15;
    while (time < $until) {
        return 1 if slurp("$self->{dir}/error.log", $before) =~ /resuming normal operations/;
        sleep 0.05;
    }
    return 0;
}

sub stop { my ($self) = @_; $self->{process}->stop if $self->{process}; return }

sub stderr     { return slurp("$_[0]{dir}/stderr.log") }
sub error_log  { return slurp("$_[0]{dir}/error.log") }
sub access_log { return slurp("$_[0]{dir}/access.log") }
sub write_file { my ($self, $name, $text) = @_; return spew("$self->{dir}/$name", $text) }

# The lines of the error log since the last call.
sub error_log_since {
    my ($self) = @_;
    my $text = substr $self->error_log, $self->{seen} || 0;
    $self->{seen} += length $text;
    return $text;
}

# Waits until the error log holds this.
sub wait_for_log {
    my ($self, $regex, $seconds) = @_;
    my $until = time + ($seconds || 5);
    while (time < $until) {
        return 1 if $self->error_log =~ $regex;
        sleep 0.05;
    }
    return 0;
}

# Lines at warn or above, and lines of no level at all, but for those that tell of a refusal whose id a
# client was given, and those that the test expects.
sub unexpected_log_lines {
    my ($self, @expected) = @_;
    my @ids = map { $_->header('X-Gate-Request') // () } @{ $answers{ $self->{port} } || [] };
    my %known = map { $_ => 1 } @ids;
    # httpd's own lines about authorization: one for each refusal, not one more.
    my $refusals = grep { $_->status =~ /^40[137]$/ } @{ $answers{ $self->{port} } || [] };
    my @found;
    for my $line (split /\n/, $self->error_log . $self->stderr) {
        next if $line =~ /^\[[^\]]+\] \[\w*:(?:notice|info|debug|trace\d)\]/;
        next if grep { $line =~ $_ } @expected;
        next if grep { $known{$_} } $line =~ /[\w\@-]{8,}/g;
        next if $line =~ /\bAH(?:01617|01629|01630|01631|02810): / && $refusals-- > 0;
        push @found, $line if $line =~ /\S/;
    }
    return @found;
}

# Refusals that a client saw, without a line in the error log with both id and code.
sub refusals_missing_in_log {
    my ($self) = @_;
    my @lines = split /\n/, $self->error_log;
    my @missing;
    for my $answer (@{ $answers{ $self->{port} } || [] }) {
        my ($id, $code) = map { scalar $answer->header($_) } qw(X-Gate-Request X-Gate-Reason);
        next unless defined $code;
        push @missing, "$code " . ($id // '(no id)') unless grep { defined $id && /\Q$id\E/ && /\b\Q$code\E\b/ } @lines;
    }
    return @missing;
}

# Every log there is: what httpd writes, and what its programs do.
sub logs { my ($self) = @_; return grep { -f } glob "$self->{dir}/*.log $self->{dir}/*.log.* $self->{dir}/*.out" }

# What no log may hold: a token's signature (or without one its claims), whatever is shaped like a token, a
# credential of GitLab's, a private key.
sub leaked {
    my ($self, @tokens) = @_;
    my @found;
    for my $log ($self->logs) {
        my ($text, $name) = (slurp($log), basename($log));
        push @found, "$name: " . substr($1, 0, 40) . '...' while $text =~ /(\beyJ[\w-]{16,}\.[\w-]{16,}|\bgl(?:pat|cbt|oas|rt)-[\w-]{3,}|-----BEGIN [A-Z ]*PRIVATE KEY)/g;
        for my $token (@tokens) {
            my @parts = grep { length >= 24 } split /\./, $token;
            push @found, "$name: " . substr($token, 0, 40) . '...' if grep { index($text, substr $_, -24) >= 0 } @parts[ 1 .. $#parts ];
        }
    }
    return @found;
}

# A file's text, or what comes after its first bytes.
sub slurp {
    my ($file, $after) = @_;
    open my $in, '<', $file or return '';
    seek $in, $after, 0 if $after;
    local $/;
    return <$in> // '';
}

sub spew {
    my ($file, $text) = @_;
    open my $out, '>', $file or die "$file: $!";
    print {$out} $text;
    close $out or die "$file: $!";
    return $file;
}

1;
