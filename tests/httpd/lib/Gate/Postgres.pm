package Gate::Postgres;

# A PostgreSQL of the test's own on loopback, where the machine has one: user gate, no password.

use strict;
use warnings;
use Gate::Httpd ();

my @stop;

# Its address; nothing where there is none to be had.
sub start {
    my ($dir) = @_;
    my ($bin) = sort { $b cmp $a } glob '/usr/lib/postgresql/*/bin';
    my @nobody = getpwnam 'postgres' or return;
    return unless $bin && -x "$bin/initdb" && $> == 0;
    my $port = Gate::Httpd::free_port();
    chmod 0755, $dir;
    mkdir "$dir/pg";
    chown $nobody[2], $nobody[3], "$dir/pg";
    my $as = 'cd / && runuser -u postgres --';
    return if system("$as $bin/initdb -D $dir/pg/data -U gate -A trust >/dev/null 2>&1") != 0;
    push @stop, "$as $bin/pg_ctl -D $dir/pg/data -m immediate stop >/dev/null 2>&1";
    return if system("$as $bin/pg_ctl -D $dir/pg/data -w -l $dir/pg/log -o '-p $port -k $dir/pg -h 127.0.0.1' start >/dev/null 2>&1") != 0;
    return "127.0.0.1:$port";
}

END { my $status = $?; system $_ for @stop; $? = $status }

1;
