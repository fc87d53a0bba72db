# Dependencies point downwards only, and nothing below the bridge knows Perl.

use strict;
use warnings;

use Test::More;

# Each directory of csrc/, and those whose headers its files may include.
my %may_include = (
    base     => [],
    codec    => [qw(base)],
    storable => [qw(base)],
    wire     => [qw(base codec storable)],
    tls      => [qw(base)],
    net      => [qw(base codec wire tls)],
    perl     => [qw(base codec storable wire tls net)],
);

for my $layer (sort keys %may_include) {
    my %allowed = map { $_ => 1 } $layer, @{ $may_include{$layer} };
    for my $file (sort glob "csrc/$layer/*.[ch]") {
        open my $fh, '<', $file or die "Cannot read $file: $!";
        my (@wrong, $text);
        while (my $line = <$fh>) {
            $text .= $line;
            my ($included) = $line =~ /^\s*#\s*include\s*["<]([^">]+)[">]/ or next;
            push @wrong, $included if $included =~ m{\A(\w+)/} && $may_include{$1} && !$allowed{$1};
            push @wrong, $included if $included =~ /\.c\z/;
            push @wrong, $included if $layer ne 'tls' && $included eq 'openssl/ssl.h';
            push @wrong, $included
                if $layer ne 'perl' && $included =~ /\A(?:EXTERN|perl|XSUB|ppport)\.h\z/;
        }
        is_deeply(\@wrong, [], "$file includes only what its layer may");
        if ($file =~ m{csrc/(\w+)/(\w+)\.h\z}) {
            my $guard = uc "ETCP_$1_$2_H";
            like($text, qr/^#ifndef $guard\n#define $guard$/m, "$file has the guard $guard");
        }
        # Lines are meant to have 100 characters at most; a few more spare an ugly break.
        is_deeply([ grep { length > 105 || /[ \t]\z/ || /\t/ } split /\n/, $text ], [],
            "$file: no long line, no tab, no space at an end");
        is_deeply(long_functions($text), [], "$file: every function fits a screen") if $file =~ /\.c\z/;
    }
}
# Within csrc/net/, each module may use those before it only.
my @net_order = qw(
    clock socket split local_socket traffic address_list address_count process deadline_list poller alarm
    output_queue claim tunnel spoken guesses loop watch listener
    conn conn_memory conn_output conn_tunnel conn_input conn_negotiate conn_close dial dialer
    server_accept server_timed server_clients server_finish server server_loop
);

my %text = map { $_ => code_of($_) } glob 'csrc/*/*.[ch]';
my %uses = uses(\%text);

my %place;
@place{ map { "net/$_" } @net_order } = 1 .. @net_order;
my %modules = map { module($_) => 1 } grep { m{^csrc/net/} } keys %text;
is_deeply([ sort keys %modules ], [ sort keys %place ], 'every module of csrc/net has its place');
for my $module (grep { $place{$_} } sort keys %uses) {
    my @upwards = grep { $place{$_} && $place{$_} > $place{$module} } sort keys %{ $uses{$module} };
    is_deeply(\@upwards, [], "$module calls nothing above it");
}
for my $file (sort grep { m{^csrc/net/(?!server)} } keys %text) {
    unlike($text{$file}, qr/#include "(?:net\/)?server/, "$file knows no server");
}

is_deeply([ circles(\%uses) ], [], 'no modules call each other in a circle');

# A method's arguments are read in its body, where its object is held: reading them may run code.
my $xs = code_of('EasyTCP.xs');
my @early = grep { !/\A    [SAH]V \*/ } map { split /\n/ } $xs =~ /^    etcp_object \*self\n((?:    .*\n)*)(?=[A-Z]+:)/gm;
is_deeply(\@early, [], 'methods hold their objects before they read their arguments');
done_testing();

# A module is a source file with its headers, or one for each kind of system.
sub module {
    my $file = shift;
    $file =~ s{\Acsrc/}{};
    $file =~ s{(?:_private|_epoll|_kqueue|_poll|_none)?\.[ch]\z}{};
    return $file;
}

# A file without its comments.
sub code_of {
    my $file = shift;
    open my $fh, '<', $file or die "Cannot read $file: $!";
    my $code = do { local $/ = undef; <$fh> };
    $code =~ s{/\*.*?\*/}{}gs;
    return $code;
}

# Module => { module => 1 }: whose functions and tables each uses, in its source or in the inline
# functions of its headers.
sub uses {
    my $files = shift;
    my (%owner, %used);
    for my $file (grep { /\.c\z/ } keys %$files) {
        my $code = $files->{$file};
        $owner{$1} = module($file)
            while $code =~ /^(?!static)[a-z][^\n;{}=]*?\b(etcp_\w+)\([^;{]*\)\s*\n\{/gm;
        $owner{$1} = module($file)
            while $code =~ /^(?!static|extern)[a-z][\w *]*?\b(etcp_\w+)(?:\[\])?\s*=/gm;
    }
    for my $file (keys %$files) {
        my $code = $files->{$file};
        $code = join '', $code =~ /^static inline.*?^\}/gms if $file =~ /\.h\z/;
        while ($code =~ /\b(etcp_\w+)\b/g) {
            my $owner = $owner{$1} or next;
            $used{ module($file) }{$owner} = 1 if $owner ne module($file);
        }
    }
    return %used;
}

# Every pair of modules that reach each other.
sub circles {
    my $used = shift;
    my %reach;
    for my $start (keys %$used) {
        my @waiting = keys %{ $used->{$start} };
        while (defined(my $module = shift @waiting)) {
            push @waiting, keys %{ $used->{$module} || {} } if !$reach{$start}{$module}++;
        }
    }
    my @found;
    for my $one (sort keys %reach) {
        my @others = grep { $_ gt $one && $reach{$_} && $reach{$_}{$one} } sort keys %{ $reach{$one} };
        push @found, map { "$one and $_" } @others;
    }
    return @found;
}

# Functions of more than 80 lines.
sub long_functions {
    my @lines = split /\n/, shift;
    my ($start, $name, @long);
    for my $number (0 .. $#lines) {
        ($start, $name) = ($number, $lines[$number]) if $lines[$number] =~ /\A[a-z].*\)\s*(?:\{\s*)?\z/;
        next if $lines[$number] !~ /\A\}/;
        push @long, $name if defined $start && $number - $start > 80;
        undef $start;
    }
    return \@long;
}
